// rate-limiter-flexible: windows, blocks, penalties, bursts and unions of limiters, through a crash of the server.

import { BurstyRateLimiter, RateLimiterRedis, RateLimiterRes, RateLimiterUnion } from 'rate-limiter-flexible';
import { Redis } from 'ioredis';
import { check, crash, pause, port, run, waitUntil } from '../control.mjs';

const client = new Redis({
  port,
  retryStrategy: () => 20,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  lazyConnect: true,
});
client.on('error', () => {}); // every command reports its own
await client.connect();
const isBroken = error => /closed|max retries|writeable|ECONN|EPIPE|LOADING|abort|not ready/i.test(error.message);
const connected = () => waitUntil(() => client.status === 'ready', 'the client has its connection again');
const limiter = options => new RateLimiterRedis({ storeClient: client, duration: 1000, rejectIfRedisNotReady: true, ...options });

// What consume gives: allowed, refused, or unknown because the connection broke.
async function consume(own, key, points = 1) {
  try {
    return { allowed: true, result: await own.consume(key, points) };
  } catch (error) {
    if (error instanceof RateLimiterRes) return { allowed: false, result: error };
    if (!isBroken(error)) throw error;
    return null;
  }
}

// Nobody gets more than the limit, and every acknowledged point is counted.
async function windows_through_a_crash() {
  const KEYS = 4;
  const limit = 400;
  const own = limiter({ keyPrefix: 'window', points: limit });
  const counts = Array.from({ length: KEYS }, () => ({ allowed: 0, refused: 0, unknown: 0, highest: 0 }));
  let stopping = false;
  let failure = null;
  const work = async key => {
    const count = counts[key];
    for (let n = 0; !stopping; n++) {
      const answer = await consume(own, `client-${key}`);
      if (!answer) {
        count.unknown++;
        await pause(10);
        continue;
      }
      const { consumedPoints, msBeforeNext } = answer.result;
      check(consumedPoints > count.highest, `the counter went back from ${count.highest} to ${consumedPoints}`);
      check(msBeforeNext > 0 && msBeforeNext <= 1_000_000, `the window ends in ${msBeforeNext} ms`);
      count.highest = consumedPoints;
      count[answer.allowed ? 'allowed' : 'refused']++;
    }
  };
  const workers = counts.map((_, key) => work(key).catch(error => (failure ??= error)));
  const total = () => counts.reduce((sum, { allowed, refused }) => sum + allowed + refused, 0);
  await waitUntil(() => failure || total() >= 400, 'requests before the crash');
  await crash();
  await waitUntil(() => failure || counts.every(({ refused }) => refused >= 50), 'everybody comes to the limit');
  stopping = true;
  await Promise.all(workers);
  if (failure) throw failure;
  for (const [key, { allowed, refused, unknown }] of counts.entries()) {
    check(allowed <= limit && allowed + unknown >= limit, `${allowed} were allowed, ${limit} may be, ${unknown} unknown`);
    const { consumedPoints } = await own.get(`client-${key}`);
    const fits = allowed + refused <= consumedPoints && consumedPoints <= allowed + refused + unknown;
    check(fits, `${consumedPoints} points are counted, ${allowed + refused} acknowledged, ${unknown} unknown`);
    check((await client.ttl(`window:client-${key}`)) > 0, 'the window never ends: the script was torn');
  }
}

// Who is blocked stays so through the crash; penalties, rewards and deletions too.
async function blocks_and_penalties() {
  const login = limiter({ keyPrefix: 'login', points: 3, blockDuration: 500 });
  for (let n = 0; n < 3; n++) check((await consume(login, 'mallory')).allowed, 'the first three are allowed');
  check(!(await consume(login, 'mallory')).allowed, 'the fourth is not');
  await login.block('eve', 300);
  await login.consume('alice', 1);
  await login.penalty('alice', 1);
  await login.penalty('bob', 3);
  await login.reward('bob', 2);
  await login.set('carol', 3, 400);
  await login.consume('dave');
  await login.delete('dave');
  await crash();
  await connected();
  const points = async key => (await login.get(key))?.consumedPoints ?? 0;
  const after = limiter({ keyPrefix: 'login', points: 3, blockDuration: 500 });
  for (const key of ['mallory', 'eve']) {
    const answer = await consume(after, key);
    check(!answer.allowed && answer.result.msBeforeNext > 200_000, `${key} is not blocked any more`);
  }
  check((await points('alice')) === 2 && (await points('bob')) === 1 && (await points('carol')) === 3, 'points were lost');
  check((await after.get('dave')) === null, 'deleted points are back');
  check(!(await consume(after, 'carol')).allowed, 'who has used up all points is refused');
}

async function bursts_and_unions() {
  const steady = limiter({ keyPrefix: 'steady', points: 5 });
  const bursty = new BurstyRateLimiter(steady, limiter({ keyPrefix: 'burst', points: 10, duration: 2000 }));
  let allowed = 0;
  const use = async times => {
    for (let n = 0; n < times; n++) {
      await bursty.consume('user').then(() => allowed++, error => check(error instanceof RateLimiterRes, error.stack));
    }
  };
  await use(8);
  await crash();
  await connected();
  await use(20);
  check(allowed === 15, `${allowed} were allowed, 5 and a burst of 10 may be`);
  const union = new RateLimiterUnion(limiter({ keyPrefix: 'few', points: 2 }), limiter({ keyPrefix: 'many', points: 100 }));
  await union.consume('user');
  await union.consume('user');
  const refused = await union.consume('user').then(() => null, result => result);
  check(refused?.few instanceof RateLimiterRes && !refused.many, 'the narrower of two limits refuses');
}

await run([windows_through_a_crash, blocks_and_penalties, bursts_and_unions], async () => void (await client.flushall()));
