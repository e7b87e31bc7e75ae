// The patterns with ioredis. Resending is off: a command that is sent twice could not be accounted for. maxRetriesPerRequest 0
// has commands rejected that were on their way when the connection broke.

import { Redis } from 'ioredis';
import { main } from './patterns.mjs';

const port = Number(process.env.PORT);

// The results of a transaction or pipeline; the first error of its commands is thrown.
function results(replies) {
  for (const [error] of replies) if (error) throw error;
  return replies.map(([, result]) => result);
}

await main({
  async connect() {
    const client = new Redis({
      port,
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
  get: (client, key) => client.get(key),
  set: (client, key, value, seconds) => client.set(key, value, 'EX', seconds),
  setEx: (client, key, seconds, value) => client.setex(key, seconds, value),
  del: (client, key) => client.del(key),
  unlink: (client, key) => client.unlink(key),
  ttl: (client, key) => client.ttl(key),
  pExpireTime: (client, key) => client.call('PEXPIRETIME', key),
  async incrWithLimit(client, key, seconds) {
    const [count] = results(await client.multi().incr(key).expire(key, seconds, 'NX').exec());
    return count;
  },
  hSet: (client, key, fields) => client.hset(key, fields),
  hGetAll: (client, key) => client.hgetall(key),
  expire: (client, key, seconds) => client.expire(key, seconds),
  mGet: (client, keys) => client.mget(keys),
  async scan(client, pattern) {
    const found = [];
    for await (const keys of client.scanStream({ match: pattern, count: 100 })) found.push(...keys);
    return found;
  },
  lPush: (client, key, value) => client.lpush(key, value),
  rPush: (client, key, value) => client.rpush(key, value),
  async brPop(client, key, seconds) {
    return (await client.brpop(key, seconds))?.[1] ?? null;
  },
  blMove: (client, source, target, seconds) => client.blmove(source, target, 'LEFT', 'RIGHT', seconds),
  lRem: (client, key, count, value) => client.lrem(key, count, value),
  lRange: (client, key) => client.lrange(key, 0, -1),
  exists: (client, keys) => client.exists(keys),
  async transfer(client, source, target, most, counter) {
    await client.watch(source, target);
    const amount = Math.min(Number(await client.get(source)), most);
    const replies = await client.multi().decrby(source, amount).incrby(target, amount).incr(counter).exec();
    if (replies === null) return false;
    results(replies);
    return true;
  },
  flushAll: client => client.flushall(),
});
