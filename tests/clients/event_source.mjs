// Follows a job with the EventSource of Chromium, behind a proxy of the page's own that puts the credential on.
// usage: node event_source.mjs URL KEY JOB FOLDER    (an empty folder for the browser's profile)
import { spawn } from "node:child_process";
import { createServer, request } from "node:http";

const [url, key, id, folder] = process.argv.slice(2);
const query = "subscription ($id: ID!) { jobUpdated(jobId: $id) { state } }";
const parameters = new URLSearchParams({ query, variables: JSON.stringify({ id }) });
const page = `<!doctype html><meta charset="utf-8"><script>
const told = [];
const source = new EventSource("/graphql?${parameters}");
const tell = () => fetch("/told", { method: "POST", body: JSON.stringify(told) });
source.addEventListener("next", ({ data }) => {
    told.push(JSON.parse(data).data.jobUpdated.state);
});
source.addEventListener("complete", () => { source.close(); told.push("complete"); tell(); });
source.onerror = () => { told.push("error"); tell(); };
</script>`;

const server = createServer((asked, answer) => {
    if (asked.url.startsWith("/graphql")) {
        const headers = { ...asked.headers, authorization: key };
        const onward = request(url + asked.url.slice("/graphql".length), { headers }, (came) => {
            answer.writeHead(came.statusCode, came.headers);
            came.pipe(answer);
        });
        onward.end();
    } else if (asked.url === "/told") {
        let text = "";
        asked.on("data", (part) => (text += part));
        asked.on("end", () => {
            const isRight = text === '["RUNNING","FINISHED","complete"]';
            console.log(isRight ? "ok" : text);
            browser.kill();
            process.exit(isRight ? 0 : 1);
        });
    } else {
        answer.writeHead(200, { "content-type": "text/html" });
        answer.end(asked.url === "/" ? page : "");
    }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const flags = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", `--user-data-dir=${folder}`,
];
const browser = spawn("chromium", [...flags, `http://127.0.0.1:${server.address().port}/`], { stdio: "ignore" });
browser.on("error", (error) => {
    console.log(`chromium (apt-get install chromium): ${error.message}`);
    process.exit(1);
});
