// Shows GraphiQL as the first demo tenant; another key goes into its tab "Headers".
const demoKey = "dev-key-of-acme";
const headers = JSON.stringify({ Authorization: demoKey }, null, 2);
const query = `# The jobs of tenant acme. Another tenant's key, in "Headers" below, shows its own.
{
  listJobs(first: 10) {
    items {
      id
      state
      percentageComplete
    }
    after
  }
}
`;
const socket = new URL("/graphql", location.href.replace(/^http/, "ws")).href;
const page = React.createElement(GraphiQL, {
  fetcher: GraphiQL.createFetcher({
    url: "/graphql",
    subscriptionUrl: socket,
    headers: { Authorization: demoKey },
    wsConnectionParams: { Authorization: demoKey },
  }),
  defaultHeaders: headers,
  defaultQuery: query,
  defaultEditorToolsVisibility: "headers",
});
ReactDOM.createRoot(document.getElementById("graphiql")).render(page);
