// Follows a job that runs with clients that others wrote, each over its own transport, until the job is over.
// usage: node follow.mjs URL KEY JOB
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { Client, fetchExchange } from "@urql/core";
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
const urql = new Client({
    url,
    fetchSubscriptions: true,
    preferGetMethod: false,
    fetchOptions: { headers: { Authorization: key } },
    exchanges: [fetchExchange],
});

// Its header names streams with every query, too.
const { data, error } = await urql.query("query ($id: ID!) { getJob(jobId: $id) { state } }", variables);
if (data?.getJob.state !== "RUNNING") throw error ?? new Error(JSON.stringify(data));

function byUrql() {
    return new Promise((resolve, reject) => {
        const states = [];
        urql.subscription(query, variables).subscribe(({ data, error, hasNext }) => {
            if (error) reject(error);
            // The end is its last result once more.
            if (hasNext) states.push(data?.jobUpdated.state);
            else resolve(states);
        });
    });
}

const all = await Promise.all([
    iterated(events.iterate({ query, variables })),
    iterated(socket.iterate({ query, variables })),
    subscribed(apollo.subscribe({ query: gql(query), variables })),
    byUrql(),
]);
for (const states of all) {
    if (states.join() !== "RUNNING,FINISHED") throw new Error(JSON.stringify(all));
}
await socket.dispose();
console.log("ok");
