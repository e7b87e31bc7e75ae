// ioredis: scripts as commands (EVALSHA, loaded again when they are gone), transactions of them, pub/sub that comes back.

import { Redis } from 'ioredis';
import { port } from '../control.mjs';
import { COMPARE_AND_DELETE, TOKEN_BUCKET, main } from './scenes.mjs';

const scripts = {
  bucket: { numberOfKeys: 1, lua: TOKEN_BUCKET },
  compareAndDelete: { numberOfKeys: 1, lua: COMPARE_AND_DELETE },
};

function results(replies) {
  for (const [error] of replies) if (error) throw error;
  return replies.map(([, result]) => result);
}

await main({
  // Resending is off, as in the patterns.
  async connect() {
    const client = new Redis({
      port,
      scripts,
      lazyConnect: true,
      retryStrategy: () => 20,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
    });
    client.on('error', () => {}); // every command reports its own
    await client.connect();
    return client;
  },
  close: client => client.disconnect(),
  isBroken: error => /closed|max retries|writeable|ECONN|EPIPE|LOADING|abort/i.test(error.message),
  flushAll: client => client.flushall(),
  bucket: (client, key, ...numbers) => client.bucket(key, ...numbers),
  compareAndDelete: (client, key, value) => client.compareAndDelete(key, value),
  setIfAbsent: async (client, key, value, ms) => (await client.set(key, value, 'PX', ms, 'NX')) === 'OK',
  async both(client, key, now, counter) {
    const [reply] = results(await client.multi().bucket(key, 10, 0.5, now).incr(counter).exec());
    return reply;
  },
  get: (client, key) => client.get(key),
  setPx: (client, key, value, ms) => client.set(key, value, 'PX', ms),
  exists: (client, key) => client.exists(key),
  hGetAll: (client, key) => client.hgetall(key),
  ttl: (client, key) => client.ttl(key),
  async subscriber({ channel, pattern, shard }, onMessage) {
    const client = new Redis({ port, retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on('error', () => {});
    client.on('message', (name, message) => onMessage('channel', name, message));
    client.on('pmessage', (_, name, message) => onMessage('pattern', name, message));
    client.on('smessage', (name, message) => onMessage('shard', name, message));
    await client.subscribe(channel);
    if (pattern) await client.psubscribe(pattern);
    if (shard) await client.ssubscribe(shard);
    return () => client.disconnect();
  },
  publish: (client, channel, message) => client.publish(channel, message),
  sPublish: (client, channel, message) => client.spublish(channel, message),
  numSub: async (client, channel) => Number((await client.pubsub('NUMSUB', channel))[1]),
  numPat: client => client.pubsub('NUMPAT'),
  shardNumSub: async (client, channel) => Number((await client.pubsub('SHARDNUMSUB', channel))[1]),
  configSet: (client, name, value) => client.config('SET', name, value),
});
