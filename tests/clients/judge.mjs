// Judges documents, and answers them, as graphql-js does.
//
// usage: judge.mjs FILE    (JSON: schemas, the definition of each; jobs, as Move sends them; portal; cases)
//
// Prints a JSON list: for each case what it is refused with, or its data as text and the paths of its errors.
import { readFileSync } from 'node:fs';
import { buildSchema, execute, Kind, parse, specifiedRules, validate } from 'graphql';

const { schemas, jobs, portal, cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const isJson = (value) => {
  if (typeof value !== 'string') throw new TypeError('AWSJSON: text wanted');
  JSON.parse(value);
  return value;
};

const read = (source, name, type) => {
  if (type === 'Client' && name === 'portal') return portal;
  if (type === 'Client' && name === 'metadata') return '{}';
  if (type === 'Job' && name === 'percentageComplete') return source.progress?.percentageComplete;
  return source[name];
};

const job = (id) => {
  const found = jobs.find((own) => own.id === id);
  if (!found) throw new Error('missing');
  return found;
};

const roots = {
  Query: {
    getJob: ({ jobId }) => job(jobId),
    listJobs: () => ({ after: null, first: jobs.length, items: jobs }),
    _entities: ({ representations }) =>
      representations.map((one) => {
        const found = one?.__typename === 'Job' && jobs.find((own) => own.id === one.id);
        return found ? { ...found, __typename: 'Job' } : new Error('missing');
      }),
  },
  Mutation: new Proxy({}, {
    get: (_, name) => (name === 'updateJob' ? ({ id }) => job(id) : () => jobs[0]),
  }),
};

const built = schemas.map((sdl) => {
  const schema = buildSchema(sdl);
  const json = schema.getType('AWSJSON');
  json.parseValue = isJson;
  json.parseLiteral = (node) => {
    if (node.kind !== Kind.STRING) throw new TypeError('AWSJSON: text wanted');
    return isJson(node.value);
  };
  return schema;
});

const fieldResolver = (source, args, _, { fieldName, parentType }) => {
  const root = roots[parentType.name];
  return root ? root[fieldName](args) : read(source, fieldName, parentType.name);
};

const judge = ({ schema, query, operationName, variables }) => {
  let document;
  try {
    document = parse(query);
  } catch (error) {
    return { refused: error.message };
  }
  const [error] = validate(built[schema], document, specifiedRules, { maxErrors: 1 });
  if (error) return { refused: error.message };
  const { data, errors } = execute({
    schema: built[schema], document, operationName, variableValues: variables, rootValue: {}, fieldResolver,
    typeResolver: (value) => value.__typename,
  });
  if (data === undefined) return { refused: errors[0].message };
  return { data: JSON.stringify(data), paths: (errors ?? []).map(({ path }) => JSON.stringify(path)) };
};

console.log(JSON.stringify(cases.map(judge)));
