// What is done with scripts and messages, for the clients of Node.js. What differs between clients is in an adapter:
//
//   connect() -> connection, close(connection), isBroken(error), flushAll(connection)
//   bucket(connection, key, ...numbers), compareAndDelete(connection, key, value), setIfAbsent(connection, key, value, ms)
//   both(connection, key, now, counter): the bucket and INCR in one transaction; get, exists, hGetAll, ttl, setPx
//   subscriber({ channel, pattern, shard }, onMessage(kind, channel, message)) -> close(); publish, sPublish, numSub, numPat, shardNumSub
//   configSet(connection, name, value)
//
// A command is acknowledged, refused before it was sent, or of unknown outcome because the connection broke.

import { check, crash, pause, run, waitUntil } from '../control.mjs';
import { Load } from '../patterns.mjs';

const WORKERS = 4;
const MESSAGES = 300;

export const TOKEN_BUCKET = `
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local capacity, rate, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens, at = tonumber(bucket[1]) or capacity, tonumber(bucket[2]) or now
tokens = math.min(capacity, tokens + (now - at) * rate)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('HINCRBY', KEYS[1], allowed and 'allowed' or 'refused', 1)
redis.call('EXPIRE', KEYS[1], 5000)
return cjson.encode({allowed = allowed, tokens = tokens})`;

export const COMPARE_AND_DELETE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

// 6: the bucket and its counts are one script, alone and in transactions; no token is given twice.
async function tokenBucket(adapter) {
  const acknowledged = Array.from({ length: WORKERS }, () => ({ allowed: 0, refused: 0, both: 0 }));
  const unknown = Array(WORKERS).fill(0);
  const step = async (connection, worker, n) => {
    const own = acknowledged[worker];
    const isBoth = n % 3 === 0;
    const reply = await (isBoth
      ? adapter.both(connection, `bucket:${worker}`, n, `calls:${worker}`)
      : adapter.bucket(connection, `bucket:${worker}`, 10, 0.5, n));
    const { allowed, tokens } = JSON.parse(reply);
    check(tokens >= 0 && tokens <= 10, `${tokens} tokens in a bucket of 10`);
    own[allowed ? 'allowed' : 'refused']++;
    if (isBoth) own.both++;
  };
  await new Load(adapter, step, { unknown: worker => unknown[worker]++ }).runThroughCrash();
  const connection = await adapter.connect();
  for (let worker = 0; worker < WORKERS; worker++) {
    const own = acknowledged[worker];
    const bucket = await adapter.hGetAll(connection, `bucket:${worker}`);
    const [allowed, refused] = [Number(bucket.allowed ?? 0), Number(bucket.refused ?? 0)];
    const least = own.allowed + own.refused;
    const fits = least <= allowed + refused && allowed + refused <= least + unknown[worker];
    check(fits, `${allowed + refused} calls are counted, ${least} acknowledged, ${unknown[worker]} unknown`);
    check(allowed >= own.allowed, 'an acknowledged token was given back');
    check(allowed + Number(bucket.tokens) <= 10 + 0.5 * Number(bucket.at), 'more tokens than were ever made');
    check((await adapter.ttl(connection, `bucket:${worker}`)) > 0, 'the script was torn');
    check(Number(await adapter.get(connection, `calls:${worker}`)) >= own.both, 'an acknowledged transaction is undone');
  }
  await adapter.close(connection);
}

// 7: one holder at a time, and still the same one after the crash.
async function lock(adapter) {
  let holder = null;
  let entered = 0;
  const orphans = new Map(); // worker -> token whose fate is unknown
  const step = async (connection, worker, n) => {
    if (orphans.has(worker)) await adapter.compareAndDelete(connection, 'lock', orphans.get(worker));
    const token = `${worker}-${n}`;
    orphans.set(worker, token);
    if (!(await adapter.setIfAbsent(connection, 'lock', token, 600_000))) {
      orphans.delete(worker);
      return pause(1);
    }
    check(holder === null, `${worker} holds the lock together with ${holder}`);
    holder = worker;
    entered++;
    await pause(1);
    holder = null;
    check((await adapter.compareAndDelete(connection, 'lock', token)) === 1, 'the lock was not its holder\'s any more');
    orphans.delete(worker);
  };
  await new Load(adapter, step).runThroughCrash();
  check(entered > 20, `the lock was had ${entered} times`);
  let connection = await adapter.connect();
  check(await adapter.setIfAbsent(connection, 'held', 'mine', 600_000), 'a free lock can be had');
  await adapter.close(connection);
  await crash();
  connection = await adapter.connect();
  check(!(await adapter.setIfAbsent(connection, 'held', 'other', 600_000)), 'the lock is granted a second time');
  check((await adapter.compareAndDelete(connection, 'held', 'other')) === 0, 'somebody else\'s lock can be released');
  check((await adapter.compareAndDelete(connection, 'held', 'mine')) === 1, 'the lock is lost to its holder');
  await adapter.close(connection);
}

// 13: subscriptions come back by themselves; what is published when they stand arrives in order, once.
async function pubSub(adapter) {
  const received = { channel: [], pattern: [], shard: [] };
  const close = await adapter.subscriber({ channel: 'news', pattern: 'ne*', shard: 'orders' }, (kind, channel, message) => {
    check(channel === (kind === 'shard' ? 'orders' : 'news'), `a message of ${channel} came by ${kind}`);
    received[kind].push(message);
  });
  let connection = await adapter.connect();
  const subscribed = async () =>
    (await adapter.numSub(connection, 'news')) === 1 &&
    (await adapter.numPat(connection)) === 1 &&
    (await adapter.shardNumSub(connection, 'orders')) === 1;
  const publish = async first => {
    for (let n = first; n < first + MESSAGES; n++) {
      check((await adapter.publish(connection, 'news', String(n))) === 2, 'one subscribed to the channel, one to the pattern');
      check((await adapter.sPublish(connection, 'orders', String(n))) === 1, 'one subscribed to the sharded channel');
    }
    await waitUntil(() => Object.values(received).every(got => got.length >= first + MESSAGES), 'messages arrive');
  };
  await waitUntil(subscribed, 'subscriptions');
  await publish(0);
  await adapter.close(connection);
  await crash();
  connection = await adapter.connect();
  await waitUntil(subscribed, 'subscriptions after the restart');
  await publish(MESSAGES);
  const wanted = Array.from({ length: 2 * MESSAGES }, (_, n) => String(n)).join();
  for (const [kind, got] of Object.entries(received)) check(got.join() === wanted, `${kind}: not each message once and in order`);
  await close();
  await adapter.close(connection);
}

// 17: the end of keys that were set before the crash is announced after it.
async function scheduledExpiry(adapter) {
  const keys = Array.from({ length: 20 }, (_, n) => `due:${n}`);
  const existing = async connection => {
    const found = [];
    for (const key of keys) if (await adapter.exists(connection, key)) found.push(key);
    return found;
  };
  let connection;
  for (const ms of [2000, 20_000]) {
    const start = Date.now();
    connection = await adapter.connect();
    for (const key of keys) await adapter.setPx(connection, key, 'v', ms);
    await adapter.close(connection);
    await crash();
    connection = await adapter.connect();
    const found = await existing(connection);
    // On a slow machine the restart may take longer than they have: then once more with more time.
    if (Date.now() - start >= ms) continue;
    check(found.length === keys.length, `${found.length} of ${keys.length} keys are there, and none had come to its end`);
    break;
  }
  await adapter.configSet(connection, 'notify-keyspace-events', 'Ex');
  const ended = [];
  const close = await adapter.subscriber({ channel: '__keyevent@0__:expired' }, (kind, channel, key) => ended.push(key));
  await waitUntil(async () => (await adapter.numSub(connection, '__keyevent@0__:expired')) === 1, 'a subscription');
  const there = await existing(connection);
  await waitUntil(() => there.every(key => ended.includes(key)), 'the end of keys is announced');
  check(new Set(ended).size === ended.length, 'the end of a key was announced twice');
  await close();
  await adapter.close(connection);
}

export async function main(adapter) {
  const flush = async () => {
    const connection = await adapter.connect();
    await adapter.flushAll(connection);
    await adapter.close(connection);
  };
  const named = scene => Object.defineProperty(() => scene(adapter), 'name', { value: scene.name });
  await run([tokenBucket, lock, pubSub, scheduledExpiry].map(named), flush);
}
