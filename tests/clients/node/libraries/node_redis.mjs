// node-redis: scripts as commands (EVALSHA, EVAL when they are gone), transactions of them, pub/sub that comes back.

import { createClient, defineScript, ErrorReply } from 'redis';
import { port } from '../control.mjs';
import { COMPARE_AND_DELETE, TOKEN_BUCKET, main } from './scenes.mjs';

const script = SCRIPT =>
  defineScript({
    SCRIPT,
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, key, ...values) {
      parser.pushKey(key);
      parser.push(...values.map(String));
    },
    transformReply: reply => reply,
  });
const scripts = { bucket: script(TOKEN_BUCKET), compareAndDelete: script(COMPARE_AND_DELETE) };
const socket = { host: '127.0.0.1', port, reconnectStrategy: 20 };

await main({
  async connect() {
    const client = createClient({ socket, scripts, disableOfflineQueue: true });
    client.on('error', () => {}); // every command reports its own
    await client.connect();
    return client;
  },
  close: client => client.destroy(),
  // What the server replied counts as broken only while it loads; what the client says, when it names the connection.
  isBroken: error => error instanceof ErrorReply
    ? error.message.startsWith('LOADING')
    : /socket|closed|offline|disconnect|reconnect|ECONN|EPIPE/i.test(`${error.constructor.name} ${error.message}`),
  flushAll: client => client.flushAll(),
  bucket: (client, key, ...numbers) => client.bucket(key, ...numbers),
  compareAndDelete: (client, key, value) => client.compareAndDelete(key, value),
  setIfAbsent: async (client, key, value, ms) =>
    (await client.set(key, value, { condition: 'NX', expiration: { type: 'PX', value: ms } })) === 'OK',
  async both(client, key, now, counter) {
    const [reply] = await client.multi().bucket(key, 10, 0.5, now).incr(counter).exec();
    return reply;
  },
  get: (client, key) => client.get(key),
  setPx: (client, key, value, ms) => client.set(key, value, { expiration: { type: 'PX', value: ms } }),
  exists: (client, key) => client.exists(key),
  hGetAll: (client, key) => client.hGetAll(key),
  ttl: (client, key) => client.ttl(key),
  async subscriber({ channel, pattern, shard }, onMessage) {
    const client = createClient({ socket });
    client.on('error', () => {});
    await client.connect();
    await client.subscribe(channel, (message, name) => onMessage('channel', name, message));
    if (pattern) await client.pSubscribe(pattern, (message, name) => onMessage('pattern', name, message));
    if (shard) await client.sSubscribe(shard, (message, name) => onMessage('shard', name, message));
    return () => client.destroy();
  },
  publish: (client, channel, message) => client.publish(channel, message),
  sPublish: (client, channel, message) => client.sPublish(channel, message),
  numSub: async (client, channel) => Number((await client.pubSubNumSub([channel]))[channel]),
  numPat: client => client.pubSubNumPat(),
  shardNumSub: async (client, channel) => Number((await client.pubSubShardNumSub([channel]))[channel]),
  configSet: (client, name, value) => client.configSet(name, value),
});
