// The patterns with node-redis.

import { createClient, ErrorReply, WatchError } from 'redis';
import { main } from './patterns.mjs';

const port = Number(process.env.PORT);

const message = ({ id, message }) => [id, message];
const messages = reply => (reply?.[0]?.messages ?? []).map(message);

await main({
  async connect() {
    const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: 20 }, disableOfflineQueue: true });
    client.on('error', () => {}); // every command reports its own
    await client.connect();
    return client;
  },
  close: client => client.destroy(),
  // What the server replied counts as broken only while it loads; what the client says, when it names the connection.
  isBroken: error => error instanceof ErrorReply
    ? error.message.startsWith('LOADING')
    : /socket|closed|offline|disconnect|reconnect|ECONN|EPIPE/i.test(`${error.constructor.name} ${error.message}`),
  get: (client, key) => client.get(key),
  set: (client, key, value, seconds) => client.set(key, value, { expiration: { type: 'EX', value: seconds } }),
  setEx: (client, key, seconds, value) => client.setEx(key, seconds, value),
  del: (client, key) => client.del(key),
  unlink: (client, key) => client.unlink(key),
  ttl: (client, key) => client.ttl(key),
  pExpireTime: (client, key) => client.pExpireTime(key),
  async incrWithLimit(client, key, seconds) {
    const [count] = await client.multi().incr(key).expire(key, seconds, 'NX').exec();
    return count;
  },
  hSet: (client, key, fields) => client.hSet(key, fields),
  hGetAll: (client, key) => client.hGetAll(key),
  expire: (client, key, seconds) => client.expire(key, seconds),
  mGet: (client, keys) => client.mGet(keys),
  async scan(client, pattern) {
    const found = [];
    for await (const keys of client.scanIterator({ MATCH: pattern, COUNT: 100 })) found.push(...keys);
    return found;
  },
  lPush: (client, key, value) => client.lPush(key, value),
  rPush: (client, key, value) => client.rPush(key, value),
  async brPop(client, key, seconds) {
    return (await client.brPop(key, seconds))?.element ?? null;
  },
  blMove: (client, source, target, seconds) => client.blMove(source, target, 'LEFT', 'RIGHT', seconds),
  lRem: (client, key, count, value) => client.lRem(key, count, value),
  lRange: (client, key) => client.lRange(key, 0, -1),
  exists: (client, keys) => client.exists(keys),
  async transfer(client, source, target, most, counter) {
    await client.watch([source, target]);
    const amount = Math.min(Number(await client.get(source)), most);
    try {
      await client.multi().decrBy(source, amount).incrBy(target, amount).incr(counter).exec();
      return true;
    } catch (error) {
      if (error instanceof WatchError) return false;
      throw error;
    }
  },
  async slide(client, key, now, window, member) {
    const added = { score: now, value: member };
    const [, , count] = await client.multi().zRemRangeByScore(key, '-inf', now - window).zAdd(key, added).zCard(key).expire(key, 5000).exec();
    return count;
  },
  zAdd: (client, key, score, value) => client.zAdd(key, { score, value }),
  zIncrBy: (client, key, by, member) => client.zIncrBy(key, by, member),
  zRevRank: (client, key, member) => client.zRevRank(key, member),
  async zRevRange(client, key, stop) {
    const rows = await client.zRangeWithScores(key, 0, stop, { REV: true });
    return rows.map(({ value, score }) => [value, score]);
  },
  zRangeByScore: (client, key, min, max, count) => client.zRangeByScore(key, min, max, { LIMIT: { offset: 0, count } }),
  async moveDue(client, from, to, value, score) {
    await client.multi().zRem(from, value).zAdd(to, { score, value }).exec();
  },
  async bzPopMin(client, key, seconds) {
    const reply = await client.bzPopMin(key, seconds);
    return reply === null ? null : [reply.value, reply.score];
  },
  xAdd: (client, key, fields) => client.xAdd(key, '*', fields),
  xGroupCreate: (client, key, group, id) => client.xGroupCreate(key, group, id, { MKSTREAM: true }),
  async xReadGroup(client, key, group, consumer, COUNT, BLOCK) {
    return messages(await client.xReadGroup(group, consumer, { key, id: '>' }, { COUNT, BLOCK }));
  },
  async xRead(client, key, id, COUNT, BLOCK) {
    return messages(await client.xRead({ key, id }, { COUNT, BLOCK }));
  },
  xAck: (client, key, group, ids) => client.xAck(key, group, ids),
  async xRange(client, key) {
    return (await client.xRange(key, '-', '+')).map(message);
  },
  async xPending(client, key, group) {
    const rows = await client.xPendingRange(key, group, '-', '+', 1_000_000);
    return rows.map(({ id, consumer, deliveriesCounter }) => [id, consumer, deliveriesCounter]);
  },
  async xAutoClaim(client, key, group, consumer, minIdleMs, start, COUNT) {
    const { nextId, messages: claimed } = await client.xAutoClaim(key, group, consumer, minIdleMs, start, { COUNT });
    return [nextId, claimed.map(message)];
  },
  async xLag(client, key) {
    return (await client.xInfoGroups(key))[0].lag;
  },
  async xLastId(client, key) {
    return (await client.xInfoStream(key))['last-generated-id'];
  },
  async feed(client, key, value, most) {
    await client.multi().lPush(key, value).lTrim(key, 0, most - 1).exec();
  },
  flushAll: client => client.flushAll(),
});
