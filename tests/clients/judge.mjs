// Judges documents, and answers them, as graphql-js does.
//
// usage: judge.mjs FILE    (JSON: schemas, the definition of each; entities, as Move sends them; portal; cases)
//
// Prints a JSON list: for each case what it is refused with, or its data as text and the paths of its errors.
import { readFileSync } from 'node:fs';
import { buildSchema, execute, Kind, parse, specifiedRules, validate } from 'graphql';

const { schemas, entities, portal, cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const isJson = (value) => {
  if (typeof value !== 'string') throw new TypeError('AWSJSON: text wanted');
  JSON.parse(value);
  return value;
};

const isText = (value) => {
  if (typeof value !== 'string') throw new TypeError('AWSDateTime: text wanted');
  return value;
};

const read = (source, name, type) => {
  if (type === 'Client' && name === 'portal') return portal;
  if (type === 'Client' && name === 'metadata') return '{}';
  if (type === 'Job' && name === 'percentageComplete') return source.progress?.percentageComplete;
  if (source._failing === name) throw new Error('failing');
  return source[name];
};

// Where one is asked for by its id, one of its fields may fail.
const named = (type, id) => entities.find((own) => own.__typename === type && own.id === id);

const all = (type) => entities.filter((own) => own.__typename === type).map((own) => ({ ...own, _failing: null }));

const one = (type, id) => {
  const found = named(type, id);
  if (!found) throw new Error('missing');
  return found;
};

const page = (type) => ({ after: null, first: all(type).length, items: all(type) });

const keyed = ['Job', 'Take', 'File', 'HumanVolume'];

const missing = () => {
  throw new Error('missing');
};

const roots = {
  Query: {
    client: () => all('Client')[0],
    getJob: ({ jobId }) => one('Job', jobId),
    getTake: ({ takeId }) => one('Take', takeId),
    getFile: ({ fileId }) => one('File', fileId),
    getVolume: ({ id }) => one('HumanVolume', id),
    listJobs: () => page('Job'),
    listTakes: () => page('Take'),
    listVolumes: () => page('HumanVolume'),
    listRigs: () => all('RigsPage')[0],
    listCameraSettings: () => all('CameraSettingsPage')[0],
    _entities: ({ representations }) =>
      representations.map((given) => {
        const type = given?.__typename;
        return (keyed.includes(type) && named(type, given.id)) || new Error('missing');
      }),
  },
  Mutation: {
    createFile: () => all('File')[0],
    createJob: () => all('Job')[0],
    createSingleCamJob: () => all('Job')[0],
    createMultiCamJob: () => all('Job')[0],
    createSingleCamTake: () => all('Take')[0],
    createMultiCamTake: () => all('Take')[0],
    createVolumeWithHuman: () => all('HumanVolume')[0],
    updateFile: ({ id }) => one('File', id),
    updateJob: ({ id }) => one('Job', id),
    updateTake: ({ id }) => one('Take', id),
    generateShareCode: () => all('ShareCode')[0],
    updateClient: missing,
    upsertWebhookEndpoint: missing,
  },
};

const built = schemas.map((sdl) => {
  const schema = buildSchema(sdl);
  const json = schema.getType('AWSJSON');
  json.parseValue = isJson;
  json.parseLiteral = (node) => {
    if (node.kind !== Kind.STRING) throw new TypeError('AWSJSON: text wanted');
    return isJson(node.value);
  };
  const time = schema.getType('AWSDateTime');
  time.parseValue = isText;
  time.parseLiteral = (node) => isText(node.kind === Kind.STRING ? node.value : null);
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
