// Composes the gateway's subgraph with a second one that extends `Job`, by both public composers.
//
// usage: compose.mjs FILE    (what `jobs-gateway schema --federation` prints)
import { readFileSync } from 'node:fs';
import { composeServices } from '@apollo/composition';
import { composeServices as composeByGuild } from '@theguild/federation-composition';
import { parse } from 'graphql';

const reviews = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
  type Job @key(fields: "id") { id: ID! reviews: [Review!]! }
  type Review { text: String! }
  type Query { latestReviews: [Review!]! }
`;
const services = [
  { name: 'jobs', url: 'http://jobs.test/graphql', typeDefs: parse(readFileSync(process.argv[2], 'utf8')) },
  { name: 'reviews', url: 'http://reviews.test/graphql', typeDefs: parse(reviews) },
];

for (const [composer, compose] of [['apollo', composeServices], ['guild', composeByGuild]]) {
  const { errors, supergraphSdl } = compose(services);
  if (errors?.length) {
    console.log(`${composer}: ${errors.map((error) => error.message).join('; ')}`);
    process.exit(1);
  }
  if (!/type Job [^{]*@join__type\(graph: REVIEWS, key: "id"/.test(supergraphSdl)) {
    console.log(`${composer}: Job is not joined by its id`);
    process.exit(1);
  }
  console.log(`${composer}: composed`);
}
console.log('ok');
