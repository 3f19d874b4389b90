// Follows a job with clients that others wrote, each over its own transport, until the job is over.
// usage: node follow.mjs URL KEY JOB
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { createClient as overEvents } from "graphql-sse";
import { createClient as overWebSocket } from "graphql-ws";
import WebSocket from "ws";

const [url, key, id] = process.argv.slice(2);
const query = "subscription ($id: ID!) { jobUpdated(jobId: $id) { state } }";
const variables = { id };

async function iterated(results) {
    const states = [];
    for await (const { data } of results) states.push(data.jobUpdated.state);
    return states;
}

function subscribed(observable) {
    return new Promise((resolve, reject) => {
        const states = [];
        observable.subscribe({
            next: ({ data, error }) => (error ? reject(error) : states.push(data.jobUpdated.state)),
            error: reject,
            complete: () => resolve(states),
        });
    });
}

const events = overEvents({ url, headers: { Authorization: key } });
const socket = overWebSocket({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: { Authorization: key },
});
const apollo = new ApolloClient({
    link: new HttpLink({ uri: url, headers: { Authorization: key } }),
    cache: new InMemoryCache(),
});
const all = await Promise.all([
    iterated(events.iterate({ query, variables })),
    iterated(socket.iterate({ query, variables })),
    subscribed(apollo.subscribe({ query: gql(query), variables })),
]);
const order = ["NOT_STARTED", "STARTED", "RUNNING", "FINISHED"];
for (const states of all) {
    const places = states.map((state) => order.indexOf(state));
    const goesForward = places.every((place, index) => index === 0 || place >= places[index - 1]);
    if (!goesForward || states.at(-1) !== "FINISHED") throw new Error(JSON.stringify(all));
}
await socket.dispose();
console.log("ok");
