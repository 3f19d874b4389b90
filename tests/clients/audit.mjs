// Runs graphql-http's audit suite against a gateway.
//
// usage: audit.mjs URL KEY
//
// Prints one line an audit; exit status 1 if a MUST or SHOULD does not pass.
import { auditServer } from 'graphql-http';

const [url, key] = process.argv.slice(2);
const fetchFn = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('authorization', key);
  return fetch(input, { ...init, headers });
};

let failed = 0;
for (const result of await auditServer({ url, fetchFn })) {
  const level = result.name.split(' ')[0];
  const required = level === 'MUST' || level === 'SHOULD';
  if (result.status !== 'ok' && required) failed += 1;
  console.log(`${result.status.padEnd(6)} ${result.name}${result.reason ? ` (${result.reason})` : ''}`);
}
console.log(failed === 0 ? 'ok' : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
