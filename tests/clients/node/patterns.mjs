// The patterns of ../patterns.py for the clients of Node.js. What differs between clients is in an adapter:
//
//   connect() -> connection, close(connection), isBroken(error)
//   call: get set setEx del unlink ttl pExpireTime incrWithLimit hSet hGetAll expire mGet scan lPush rPush brPop blMove
//         lRem lRange exists transfer flushAll slide zAdd zIncrBy zRevRank zRevRange(top, [member, score]s) zRangeByScore
//         moveDue bzPopMin xAdd xGroupCreate xReadGroup xRead xAck xRange xPending([id, consumer, deliveries]s) xAutoClaim xLag xLastId feed
//         (messages are [id, { field: value }]s)
//
// A command is acknowledged, refused before it was sent, or of unknown outcome because the connection broke.

import { check, crash, pause, waitUntil } from './control.mjs';

const WORKERS = 4;

// Workers that repeat step(connection, worker, n); a broken connection goes to unknown(worker, n).
export class Load {
  constructor(adapter, step, { unknown = () => {}, workers = WORKERS } = {}) {
    Object.assign(this, { adapter, step, unknown, workers, acknowledged: 0, stopping: false, failure: null });
  }

  start() {
    this.running = Array.from({ length: this.workers }, (_, worker) => this.work(worker));
  }

  async work(worker) {
    const connection = await this.adapter.connect();
    for (let n = 1; !this.stopping; n++) {
      try {
        await this.step(connection, worker, n);
        this.acknowledged++;
      } catch (error) {
        if (!this.adapter.isBroken(error)) {
          this.failure = error;
          break;
        }
        this.unknown(worker, n);
        await pause(20);
      }
    }
    await this.adapter.close(connection);
  }

  async runThroughCrash(before = 200, after = 100) {
    this.start();
    await waitUntil(() => this.failure || this.acknowledged >= before, 'load before the crash');
    await crash();
    const seen = this.acknowledged;
    await waitUntil(() => this.failure || this.acknowledged >= seen + after, 'load after the crash');
    await this.stop();
  }

  async stop() {
    this.stopping = true;
    await Promise.all(this.running);
    if (this.failure) throw this.failure;
  }
}

async function cacheAside(adapter, redis) {
  const expected = new Map(); // key -> allowed values
  const allow = (key, value) => expected.set(key, [...(expected.get(key) ?? [null]), value]);
  const step = async (connection, worker, n) => {
    const key = `cache:${worker}:${n % 50}`;
    const value = `value-${n}`;
    if (n % 7 === 0) {
      allow(key, null);
      await (n % 2 ? adapter.del(connection, key) : adapter.unlink(connection, key));
      expected.set(key, [null]);
    } else {
      allow(key, value);
      await (n % 3 ? adapter.set(connection, key, value, 1000) : adapter.setEx(connection, key, 1000, value));
      expected.set(key, [value]);
      check((await adapter.get(connection, key)) === value, 'a write-through is read back');
    }
  };
  const deadlines = new Map();
  for (let n = 0; n < 20; n++) {
    await adapter.setEx(redis, `lifetime:${n}`, 1000 + n, 'v');
    deadlines.set(`lifetime:${n}`, await adapter.pExpireTime(redis, `lifetime:${n}`));
  }
  await new Load(adapter, step).runThroughCrash();
  const connection = await adapter.connect();
  for (const [key, allowed] of expected) {
    const found = await adapter.get(connection, key);
    check(allowed.includes(found), `${key} is ${found}, allowed are ${allowed}`);
    check(found === null || (await adapter.ttl(connection, key)) > 0, `${key} has lost its lifetime`);
  }
  for (const [key, deadline] of deadlines) {
    check((await adapter.pExpireTime(connection, key)) === deadline, `${key} expires at another time`);
  }
  await adapter.close(connection);
}

async function fixedWindowRateLimit(adapter) {
  const acknowledged = Array(WORKERS).fill(0);
  const unknown = Array(WORKERS).fill(0);
  const highest = Array(WORKERS).fill(0);
  const step = async (connection, worker) => {
    const count = await adapter.incrWithLimit(connection, `limit:${worker}`, 5000);
    check(count > highest[worker], `the counter went back from ${highest[worker]} to ${count}`);
    highest[worker] = count;
    acknowledged[worker]++;
  };
  await new Load(adapter, step, { unknown: worker => unknown[worker]++ }).runThroughCrash();
  const connection = await adapter.connect();
  for (let worker = 0; worker < WORKERS; worker++) {
    const count = Number(await adapter.get(connection, `limit:${worker}`));
    const [least, most] = [acknowledged[worker], acknowledged[worker] + unknown[worker]];
    check(least <= count && count <= most, `limit:${worker} is ${count}, not within ${least}..${most}`);
    check((await adapter.ttl(connection, `limit:${worker}`)) > 0, `limit:${worker} never ends: torn transaction`);
  }
  await adapter.close(connection);
}

async function sessionStore(adapter) {
  const hashes = new Map();
  const strings = new Map();
  const step = async (connection, worker, n) => {
    const hash = `session:h:${worker}:${n}`;
    const fields = { user: `u${n}`, cart: 'x'.repeat(n % 50), seen: String(n) };
    await adapter.hSet(connection, hash, fields);
    hashes.set(hash, { fields, limited: false });
    await adapter.expire(connection, hash, 3000);
    hashes.set(hash, { fields, limited: true });
    const string = `session:s:${worker}:${n}`;
    const body = JSON.stringify({ id: n, roles: ['a', 'b'] });
    await adapter.set(connection, string, body, 3000);
    strings.set(string, body);
  };
  await new Load(adapter, step).runThroughCrash(300);
  const connection = await adapter.connect();
  for (const [key, { fields, limited }] of hashes) {
    const found = await adapter.hGetAll(connection, key);
    const equal = Object.keys(found).length === 3 && Object.keys(fields).every(name => found[name] === fields[name]);
    check(equal, `${key} is ${JSON.stringify(found)}`);
    check(!limited || (await adapter.ttl(connection, key)) > 2000, `${key} has lost its lifetime`);
  }
  const keys = [...strings.keys()];
  for (let start = 0; start < keys.length; start += 100) {
    const some = keys.slice(start, start + 100);
    const found = await adapter.mGet(connection, some);
    check(some.every((key, i) => found[i] === strings.get(key)), 'MGET gives all sessions');
  }
  const scanned = new Set(await adapter.scan(connection, 'session:*'));
  check([...keys, ...hashes.keys()].every(key => scanned.has(key)), 'SCAN finds all sessions');
  await adapter.close(connection);
}

async function listQueue(adapter) {
  const pushed = new Set();
  const attempted = new Set();
  const popped = [];
  const moved = [];
  const finished = new Set();
  let brokenPops = 0;
  const produce = async (connection, worker, n) => {
    const job = `job-${worker}-${n}`;
    attempted.add(job);
    await (n % 2 ? adapter.lPush(connection, 'queue', job) : adapter.rPush(connection, 'reliable', job));
    pushed.add(job);
  };
  const consume = async connection => {
    const job = await adapter.brPop(connection, 'queue', 1);
    if (job !== null) popped.push(job);
  };
  const consumeReliably = async connection => {
    const job = await adapter.blMove(connection, 'reliable', 'processing', 1);
    if (job === null) return;
    moved.push(job);
    check((await adapter.lRem(connection, 'processing', 1, job)) === 1, `${job} was taken by nobody else`);
    finished.add(job);
  };
  const consumers = [
    new Load(adapter, consume, { unknown: () => brokenPops++, workers: 2 }),
    new Load(adapter, consumeReliably, { workers: 2 }),
  ];
  consumers.forEach(load => load.start());
  await new Load(adapter, produce, { workers: 2 }).runThroughCrash(400, 200);
  const connection = await adapter.connect();
  const idle = async () => consumers.some(load => load.failure) || (await adapter.exists(connection, ['queue', 'reliable'])) === 0;
  await waitUntil(idle, 'the queues run empty');
  for (const load of consumers) await load.stop();
  check(new Set(popped).size === popped.length, 'a job was popped twice');
  check([...popped, ...moved].every(job => attempted.has(job)), 'a job that nobody made');
  const taken = new Set([...popped, ...moved]);
  const processing = new Set(await adapter.lRange(connection, 'processing'));
  const isPlain = job => Number(job.split('-')[2]) % 2 === 1;
  const missingPlain = [...pushed].filter(job => isPlain(job) && !taken.has(job));
  check(missingPlain.length <= brokenPops, `lost from the queue: ${missingPlain.slice(0, 5)}`);
  const missing = [...pushed].filter(job => !isPlain(job) && !taken.has(job) && !processing.has(job));
  check(missing.length === 0, `lost from the reliable queue: ${missing.slice(0, 5)}`);
  check([...processing].every(job => !finished.has(job)), 'an acknowledged LREM is undone');
  await adapter.close(connection);
}

// A sorted set of the times of requests; those that left the window are removed in the same transaction.
async function slidingWindowRateLimit(adapter) {
  const window = 50;
  const attempted = Array(WORKERS).fill(0);
  const acknowledged = Array.from({ length: WORKERS }, () => []);
  const step = async (connection, worker, n) => {
    attempted[worker] = n;
    const count = await adapter.slide(connection, `window:${worker}`, n, window, `request-${n}`);
    check(count >= 1 && count <= window, `${count} requests within ${window}`);
    acknowledged[worker].push(n);
  };
  await new Load(adapter, step).runThroughCrash();
  const connection = await adapter.connect();
  for (let worker = 0; worker < WORKERS; worker++) {
    const found = new Map(await adapter.zRevRange(connection, `window:${worker}`, -1));
    check([...found].every(([member, score]) => member === `request-${score}`), 'a score of another request');
    const counted = acknowledged[worker].filter(n => n > attempted[worker] - window);
    check(counted.every(n => found.has(`request-${n}`)), 'an acknowledged request is not counted');
    const cut = acknowledged[worker].at(-1) - window;
    check(Math.min(...found.values()) > cut, 'requests that had left the window are back');
    check((await adapter.ttl(connection, `window:${worker}`)) > 0, 'the transaction was torn');
  }
  await adapter.close(connection);
}

// Jobs wait in a sorted set until they are due, then in one by priority that BZPOPMIN takes from.
async function delayedJobs(adapter) {
  const pushed = new Set();
  const attempted = new Set();
  const popped = [];
  let brokenPops = 0;
  const number = job => Number(job.split('-')[2]);
  const produce = async (connection, worker, n) => {
    const job = `job-${worker}-${n}`;
    attempted.add(job);
    // Every fourth is due at a time that never comes.
    await adapter.zAdd(connection, 'delayed', Date.now() + (n % 4 === 0 ? 1e9 : 50 * (n % 3)), job);
    pushed.add(job);
  };
  const moveDue = async connection => {
    const due = await adapter.zRangeByScore(connection, 'delayed', '-inf', Date.now(), 20);
    for (const job of due) await adapter.moveDue(connection, 'delayed', 'ready', job, number(job) % 5);
    if (due.length === 0) await pause(10);
  };
  const consume = async connection => {
    const taken = await adapter.bzPopMin(connection, 'ready', 1);
    if (taken === null) return;
    check(number(taken[0]) % 5 === taken[1], `${taken[0]} has priority ${taken[1]}`);
    popped.push(taken[0]);
  };
  const consumers = [
    new Load(adapter, moveDue, { workers: 1 }),
    new Load(adapter, consume, { unknown: () => brokenPops++, workers: 2 }),
  ];
  consumers.forEach(load => load.start());
  await new Load(adapter, produce, { workers: 2 }).runThroughCrash(400, 200);
  const connection = await adapter.connect();
  const idle = async () =>
    consumers.some(load => load.failure) ||
    ((await adapter.exists(connection, ['ready'])) === 0 &&
      (await adapter.zRangeByScore(connection, 'delayed', '-inf', Date.now() + 1000, 1)).length === 0);
  await waitUntil(idle, 'the queues run empty');
  for (const load of consumers) await load.stop();
  check(new Set(popped).size === popped.length, 'a job was popped twice');
  check(popped.every(job => attempted.has(job)), 'a job that nobody made');
  const waiting = new Map(await adapter.zRevRange(connection, 'delayed', -1));
  const taken = new Set(popped);
  const late = [...pushed].filter(job => number(job) % 4 === 0);
  check(late.every(job => waiting.has(job)), 'a job was lost before it was due');
  const missing = [...pushed].filter(job => number(job) % 4 !== 0 && !taken.has(job));
  check(missing.length <= brokenPops, `lost: ${missing.slice(0, 5)}`);
  await adapter.close(connection);
}

// Points are added up; ranks and the top ten are read at the same time.
async function leaderboard(adapter) {
  const of = (worker, n) => [`player:${(worker * 53 + n * n) % 200}`, (n % 9) + 1];
  const points = new Map();
  const unknown = new Map();
  const add = (map, [player, more]) => map.set(player, (map.get(player) ?? 0) + more);
  const step = async (connection, worker, n) => {
    const [player, more] = of(worker, n);
    const score = await adapter.zIncrBy(connection, 'board', more, player);
    add(points, [player, more]);
    check(Number(score) >= more, 'points were lost');
    if (n % 10 !== 0) return;
    const top = await adapter.zRevRange(connection, 'board', 9);
    check(top.every(([, score], at) => at === 0 || top[at - 1][1] >= score), 'the top ten are in order');
    check((await adapter.zRevRank(connection, 'board', player)) !== null, 'a player with points has a rank');
  };
  await new Load(adapter, step, { unknown: (worker, n) => add(unknown, of(worker, n)) }).runThroughCrash();
  const connection = await adapter.connect();
  const board = await adapter.zRevRange(connection, 'board', -1);
  for (const [rank, [player, score]] of board.entries()) {
    const least = points.get(player) ?? 0;
    const most = least + (unknown.get(player) ?? 0);
    check(least <= score && score <= most, `${player} has ${score}, not within ${least}..${most}`);
    check((await adapter.zRevRank(connection, 'board', player)) === rank, `${player} is not at rank ${rank}`);
  }
  const players = new Set(board.map(([player]) => player));
  check([...points.keys()].every(player => players.has(player)), 'a player is gone');
  await adapter.close(connection);
}

// A stream, a group and its workers; what they leave behind is claimed and worked on by another one.
async function streamQueue(adapter, redis) {
  await adapter.xGroupCreate(redis, 'jobs', 'workers', '0');
  const added = new Map(); // job -> id
  const attempted = new Set();
  const seen = new Map();
  const acknowledged = new Set();
  const maybeAcknowledged = new Set();
  const produce = async (connection, worker, n) => {
    const job = `job-${worker}-${n}`;
    attempted.add(job);
    added.set(job, await adapter.xAdd(connection, 'jobs', { job, payload: 'x'.repeat(n % 60) }));
  };
  const consume = async (connection, worker) => {
    const messages = await adapter.xReadGroup(connection, 'jobs', 'workers', `worker-${worker}`, 5, 200);
    for (const [id, { job }] of messages) {
      check(!seen.has(id), `${id} was delivered twice`);
      seen.set(id, job);
    }
    // Every fourth is never finished.
    const done = messages.filter(([, { job }]) => Number(job.split('-')[2]) % 4).map(([id]) => id);
    if (done.length === 0) return;
    done.forEach(id => maybeAcknowledged.add(id));
    check((await adapter.xAck(connection, 'jobs', 'workers', done)) === done.length, 'others acknowledged it too');
    done.forEach(id => acknowledged.add(id));
  };
  const workers = new Load(adapter, consume);
  workers.start();
  await new Load(adapter, produce, { workers: 2 }).runThroughCrash(400, 200);
  const connection = await adapter.connect();
  const idle = async () => workers.failure || (await adapter.xLag(connection, 'jobs')) === 0;
  await waitUntil(idle, 'the group reads everything');
  await workers.stop();

  const entries = new Map((await adapter.xRange(connection, 'jobs')).map(([id, { job }]) => [id, job]));
  const lost = [...added].filter(([job, id]) => entries.get(id) !== job);
  check(lost.length === 0, `acknowledged messages are lost: ${lost.slice(0, 5)}`);
  check([...entries.values()].every(job => attempted.has(job)), 'a job that nobody made');
  check([...seen].every(([id, job]) => entries.get(id) === job), 'a message that was delivered is not there any more');
  const pending = new Map((await adapter.xPending(connection, 'jobs', 'workers')).map(([id, ...row]) => [id, row]));
  check([...acknowledged].every(id => !pending.has(id)), 'an acknowledged message is pending');
  const missing = [...entries.keys()].filter(id => !maybeAcknowledged.has(id) && !pending.has(id));
  check(missing.length === 0, `messages that nobody acknowledged are not pending: ${missing.slice(0, 5)}`);
  check([...pending.values()].every(([, times]) => times === 1), 'a message was delivered more than once');

  const claimed = new Map();
  let cursor = '0-0';
  do {
    const [next, messages] = await adapter.xAutoClaim(connection, 'jobs', 'workers', 'rescuer', 0, cursor, 50);
    for (const [id, { job }] of messages) claimed.set(id, job);
    cursor = next;
  } while (cursor !== '0-0');
  const isAll = claimed.size === pending.size && [...pending.keys()].every(id => claimed.get(id) === entries.get(id));
  check(isAll, 'what is claimed is what was pending');
  for (const [id, consumer, times] of await adapter.xPending(connection, 'jobs', 'workers')) {
    check(consumer === 'rescuer' && times === 2, `${id} was claimed, and yet ${consumer} has it ${times} times`);
  }
  check((await adapter.xAck(connection, 'jobs', 'workers', [...claimed.keys()])) === claimed.size, 'all can be acknowledged');
  check((await adapter.xPending(connection, 'jobs', 'workers')).length === 0, 'nothing is pending in the end');
  await adapter.close(connection);
}

// Events are appended to a stream that readers tail; feeds of the latest hundred beside it.
async function eventSourcing(adapter) {
  const appended = Array.from({ length: WORKERS }, () => []);
  const fed = Array.from({ length: WORKERS }, () => []);
  const read = [[], []];
  const show = ([id, { worker, n }]) => `${id} ${worker} ${n}`;
  const append = async (connection, worker, n) => {
    const fields = { worker: String(worker), n: String(n) };
    appended[worker].push(show([await adapter.xAdd(connection, 'events', fields), fields]));
    await adapter.feed(connection, `feed:${worker}`, String(n), 100);
    fed[worker].push(n);
  };
  const tail = async (connection, worker) => {
    const position = read[worker].at(-1)?.[0] ?? '0-0';
    read[worker].push(...(await adapter.xRead(connection, 'events', position, 100, 200)));
  };
  const readers = new Load(adapter, tail, { workers: 2 });
  readers.start();
  await new Load(adapter, append).runThroughCrash(400, 200);
  const connection = await adapter.connect();
  const last = await adapter.xLastId(connection, 'events');
  await waitUntil(() => readers.failure || read.every(events => events.at(-1)?.[0] === last), 'readers come to the end');
  await readers.stop();
  const events = await adapter.xRange(connection, 'events');
  const known = new Set(events.map(show));
  for (const seen of read) {
    const isSame = seen.length === events.length && seen.every((event, at) => show(event) === show(events[at]));
    check(isSame, 'a reader saw an event that is gone, or missed one');
  }
  for (let worker = 0; worker < WORKERS; worker++) {
    const lost = appended[worker].filter(event => !known.has(event));
    check(lost.length === 0, `acknowledged events are lost: ${lost.slice(0, 5)}`);
    const feed = (await adapter.lRange(connection, `feed:${worker}`)).map(Number);
    check(feed.length <= 100 && feed.every((n, at) => at === 0 || feed[at - 1] > n), `not the latest events: ${feed}`);
    check(fed[worker].every(n => n < feed.at(-1) || feed.includes(n)), 'an event is not in the feed');
  }
  await adapter.close(connection);
}

async function optimisticTransactions(adapter, redis) {
  const accounts = [0, 1, 2, 3, 4].map(i => `account:${i}`);
  for (const account of accounts) await adapter.set(redis, account, '1000', 100_000);
  const done = Array(WORKERS).fill(0);
  const unknown = Array(WORKERS).fill(0);
  const step = async (connection, worker, n) => {
    const source = accounts[(worker + n) % 5];
    const target = accounts[(worker + 2 * n + 1) % 5];
    while (!(await adapter.transfer(connection, source, target, (n % 7) + 1, `transfers:${worker}`)));
    done[worker]++;
  };
  await new Load(adapter, step, { unknown: worker => unknown[worker]++ }).runThroughCrash();
  const connection = await adapter.connect();
  const balances = (await adapter.mGet(connection, accounts)).map(Number);
  check(balances.reduce((sum, balance) => sum + balance) === 5000, `money was made or lost: ${balances}`);
  check(Math.min(...balances) >= 0, `an account is overdrawn: ${balances}`);
  for (let worker = 0; worker < WORKERS; worker++) {
    const count = Number(await adapter.get(connection, `transfers:${worker}`));
    const fits = done[worker] <= count && count <= done[worker] + unknown[worker];
    check(fits, `${count} transfers, ${done[worker]} acknowledged, ${unknown[worker]} unknown`);
  }
  await adapter.close(connection);
}

export async function main(adapter) {
  const patterns = [
    cacheAside,
    fixedWindowRateLimit,
    slidingWindowRateLimit,
    sessionStore,
    listQueue,
    streamQueue,
    eventSourcing,
    delayedJobs,
    leaderboard,
    optimisticTransactions,
  ];
  // A soak repeats the patterns with streams until its time is over.
  const soakMs = 1000 * Number(process.env.SOAK_S ?? 0);
  const deadline = Date.now() + soakMs;
  function* chosen() {
    if (!soakMs) yield* patterns;
    while (Date.now() < deadline) yield* [streamQueue, eventSourcing];
  }
  for (const pattern of chosen()) {
    const redis = await adapter.connect();
    await adapter.flushAll(redis);
    try {
      await pattern(adapter, redis);
    } catch (error) {
      console.log(`${pattern.name}: FAILED: ${error.stack}`);
      process.exit(1);
    }
    await adapter.close(redis);
    console.log(`${pattern.name}: passed`);
  }
  process.exit(0);
}
