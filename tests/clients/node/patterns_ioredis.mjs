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

// [id, [field, value, ...]] as [id, { field: value }].
function message([id, flat]) {
  const fields = {};
  for (let at = 0; at < flat.length; at += 2) fields[flat[at]] = flat[at + 1];
  return [id, fields];
}

const messages = reply => (reply?.[0]?.[1] ?? []).map(message);
const field = (flat, name) => flat[flat.indexOf(name) + 1];

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
  async slide(client, key, now, window, member) {
    const [, , count] = results(
      await client.multi().zremrangebyscore(key, '-inf', now - window).zadd(key, now, member).zcard(key).expire(key, 5000).exec(),
    );
    return count;
  },
  zAdd: (client, key, score, member) => client.zadd(key, score, member),
  zIncrBy: (client, key, by, member) => client.zincrby(key, by, member),
  zRevRank: (client, key, member) => client.zrevrank(key, member),
  async zRevRange(client, key, stop) {
    const flat = await client.zrevrange(key, 0, stop, 'WITHSCORES');
    return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], Number(flat[2 * at + 1])]);
  },
  zRangeByScore: (client, key, min, max, most) => client.zrangebyscore(key, min, max, 'LIMIT', 0, most),
  async moveDue(client, from, to, member, score) {
    results(await client.multi().zrem(from, member).zadd(to, score, member).exec());
  },
  async bzPopMin(client, key, seconds) {
    const reply = await client.bzpopmin(key, seconds);
    return reply === null ? null : [reply[1], Number(reply[2])];
  },
  xAdd: (client, key, fields) => client.xadd(key, '*', ...Object.entries(fields).flat()),
  xGroupCreate: (client, key, group, id) => client.xgroup('CREATE', key, group, id, 'MKSTREAM'),
  async xReadGroup(client, key, group, consumer, count, ms) {
    return messages(await client.xreadgroup('GROUP', group, consumer, 'COUNT', count, 'BLOCK', ms, 'STREAMS', key, '>'));
  },
  async xRead(client, key, id, count, ms) {
    return messages(await client.xread('COUNT', count, 'BLOCK', ms, 'STREAMS', key, id));
  },
  xAck: (client, key, group, ids) => client.xack(key, group, ...ids),
  async xRange(client, key) {
    return (await client.xrange(key, '-', '+')).map(message);
  },
  async xPending(client, key, group) {
    const rows = await client.xpending(key, group, '-', '+', 1_000_000);
    return rows.map(([id, consumer, , deliveries]) => [id, consumer, deliveries]);
  },
  async xAutoClaim(client, key, group, consumer, minIdleMs, start, count) {
    const [next, claimed] = await client.xautoclaim(key, group, consumer, minIdleMs, start, 'COUNT', count);
    return [next, claimed.map(message)];
  },
  async xLag(client, key) {
    return field((await client.xinfo('GROUPS', key))[0], 'lag');
  },
  async xLastId(client, key) {
    return field(await client.xinfo('STREAM', key), 'last-generated-id');
  },
  async feed(client, key, value, most) {
    results(await client.multi().lpush(key, value).ltrim(key, 0, most - 1).exec());
  },
  flushAll: client => client.flushall(),
});
