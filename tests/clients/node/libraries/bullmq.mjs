// BullMQ: jobs, delays, priorities, retries, flows, a rate limit and a job scheduler, through a crash of the server.
//
// A job is in a list or sorted set of its own until its result is stored; one that was active when its worker lost the server comes
// back when its lock has ended (stalled): at least once.

import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { check, crash, pause, port, run, waitUntil } from '../control.mjs';

const CONCURRENCY = 4;
const connection = { host: '127.0.0.1', port, retryStrategy: () => 50 };
// Commands that were on their way when the connection broke are rejected: sent twice they could not be accounted for.
const strict = { ...connection, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, enableOfflineQueue: false };
// What was active at the crash comes back after some seconds; a machine that is busy is not taken for a crash.
const lenient = { lockDuration: 3000, stalledInterval: 1000, maxStalledCount: 5, drainDelay: 1 };
const opened = [];

function open(thing) {
  thing.on('error', () => {}); // the crash
  opened.push(thing);
  return thing;
}

async function closeAll() {
  for (const thing of opened.splice(0).reverse()) await thing.close(true).catch(() => {});
}

const queueOf = async name => {
  const queue = open(new Queue(name, { connection: strict }));
  await queue.waitUntilReady();
  return queue;
};

const workerOf = (name, work, more = {}) =>
  open(new Worker(name, work, { connection, concurrency: CONCURRENCY, ...lenient, ...more }));

const countOf = (list, name) => list.filter(each => each === name).length;
const isBroken = error => /closed|max retries|writeable|ECONN|EPIPE|LOADING|abort/i.test(error.message);
// Resolves when the client has its connection back.
const reconnected = queue => waitUntil(() => queue.getJobCounts().then(() => true, () => false), 'the queue has a connection again');

async function jobs_through_a_crash() {
  const worked = [];
  const acknowledged = new Set();
  const attempted = new Set();
  const queue = await queueOf('plain');
  workerOf('plain', async job => {
    worked.push(job.data.name);
    return `${job.data.name} is done`;
  });
  let stopping = false;
  const produce = async own => {
    for (let n = 1; !stopping; n++) {
      const name = `job-${own}-${n}`;
      attempted.add(name);
      try {
        await queue.add('work', { name }, { jobId: name });
        acknowledged.add(name);
        await pause(1);
      } catch (error) {
        check(isBroken(error), error.stack);
        await pause(20);
      }
    }
  };
  const producers = [0, 1, 2].map(produce);
  const failure = Promise.all(producers);
  failure.catch(() => {});
  const until = (condition, what) => Promise.race([waitUntil(condition, what), failure]);
  await until(() => acknowledged.size >= 300 && worked.length >= 150, 'work before the crash');
  await crash();
  const seen = acknowledged.size;
  await until(() => acknowledged.size >= seen + 150, 'jobs are accepted after the crash');
  stopping = true;
  await failure;
  const missing = () => [...acknowledged].filter(name => !worked.includes(name));
  await waitUntil(() => missing().length === 0, 'acknowledged jobs are worked on').catch(error => {
    throw new Error(`${error.message}; lost: ${missing().slice(0, 5)}`);
  });
  check(worked.every(name => attempted.has(name)), 'a job that nobody made');
  const twice = [...new Set(worked)].filter(name => countOf(worked, name) > 1);
  check(twice.length <= CONCURRENCY, `worked on more than once: ${twice}`);
  await waitUntil(async () => (await queue.getCompletedCount()) === new Set(worked).size, 'all are completed');
  for (const name of [...acknowledged].slice(0, 50)) {
    const job = await queue.getJob(name);
    check(job.returnvalue === `${name} is done`, `the result of ${name} is ${job.returnvalue}`);
  }
  const { waiting, active, delayed, failed } = await queue.getJobCounts();
  check(waiting + active + delayed + failed === 0, `left over: ${[waiting, active, delayed, failed]}`);
}

// Accepted before the crash; due or in turn after it.
async function delays_and_priorities() {
  const late = await queueOf('late');
  const due = new Map();
  for (let n = 0; n < 20; n++) {
    const delay = 400 + 20 * n;
    due.set(`soon-${n}`, Date.now() + delay);
    await late.add(`soon-${n}`, {}, { delay });
    await late.add(`never-${n}`, {}, { delay: 1e8 });
  }
  const ranked = await queueOf('ranked');
  for (let n = 0; n < 40; n++) await ranked.add(`ranked-${n}`, {}, { priority: ((n * 7) % 10) + 1 });
  await crash();
  await Promise.all([late, ranked].map(reconnected));
  check((await ranked.getJobCounts('prioritized')).prioritized === 40, 'a job with a priority is gone');
  const started = new Map();
  const order = [];
  workerOf('late', async job => void started.set(job.name, Date.now()));
  workerOf('ranked', async job => void order.push(Number(job.name.split('-')[1])), { concurrency: 1 });
  await waitUntil(() => started.size >= 20 && order.length >= 40, 'delayed jobs and those with priorities');
  for (const [name, at] of started) check(at >= due.get(name) - 1, `${name} was worked on before it was due`);
  const wanted = [...Array(40).keys()].sort((a, b) => ((a * 7) % 10) - ((b * 7) % 10) || a - b);
  check(order.join() === wanted.join(), `not by priority: ${order}`);
  check((await late.getDelayedCount()) === 20, `${await late.getDelayedCount()} jobs wait, not 20`);
}

// Attempts are counted across the crash, each after its pause; a job that always fails ends as failed, with its reason.
async function retries_with_backoff() {
  const queue = await queueOf('retried');
  const attempts = new Map();
  workerOf('retried', async job => {
    attempts.set(job.name, [...(attempts.get(job.name) ?? []), [Date.now(), job.attemptsMade]]);
    if (job.name === 'hopeless' || job.attemptsMade < 3) throw new Error(`not after ${job.attemptsMade} attempts`);
  });
  const backoff = { type: 'exponential', delay: 100 };
  for (let n = 0; n < 10; n++) await queue.add(`retry-${n}`, {}, { attempts: 10, backoff });
  await queue.add('hopeless', {}, { attempts: 3, backoff: { type: 'fixed', delay: 100 } });
  await waitUntil(() => attempts.size === 11, 'first attempts');
  await crash();
  await reconnected(queue);
  const done = async () => (await queue.getCompletedCount()) === 10 && (await queue.getFailedCount()) === 1;
  await waitUntil(done, 'retried jobs succeed');
  for (const [name, rows] of attempts) {
    if (name === 'hopeless') continue;
    const numbers = rows.map(([, made]) => made);
    check([0, 1, 2, 3].every(made => numbers.includes(made)), `${name} was attempted as ${numbers}`);
    for (const made of [1, 2, 3]) {
      const gap = rows.findLast(row => row[1] === made)[0] - rows.find(row => row[1] === made - 1)[0];
      check(gap >= 100 * 2 ** (made - 1) - 2, `${name}: attempt ${made} came after ${gap} ms`);
    }
  }
  const [failed] = await queue.getFailed();
  check(failed.name === 'hopeless' && failed.failedReason === 'not after 2 attempts', `failed: ${failed.name} ${failed.failedReason}`);
}

// Parents wait for all of their children, those that were done before the crash and those after it.
async function flows() {
  const flow = open(new FlowProducer({ connection }));
  const trees = [];
  for (let n = 0; n < 5; n++) {
    const children = [1, 2, 3, 4, 5].map(value => ({ name: 'child', queueName: 'children', data: { value: value + n } }));
    trees.push(await flow.add({ name: `parent-${n}`, queueName: 'parents', data: { n }, children }));
  }
  const sums = new Map();
  let finished = 0;
  workerOf('parents', async job => {
    const values = Object.values(await job.getChildrenValues());
    sums.set(job.data.n, values.reduce((sum, value) => sum + value, 0));
    check(values.length === 5, `a parent began with ${values.length} of 5 children`);
  });
  const first = workerOf('children', async job => (finished++, job.data.value));
  await waitUntil(() => finished >= 8, 'the first children');
  await first.pause(true);
  await crash();
  first.resume();
  await waitUntil(() => sums.size === 5, 'all parents have had their turn');
  for (const [n, sum] of sums) check(sum === 15 + 5 * n, `the children of parent ${n} make ${sum}`);
  for (const tree of trees) await waitUntil(async () => (await tree.job.getState()) === 'completed', 'parents are completed');
}

async function rate_limit() {
  const queue = await queueOf('limited');
  await queue.addBulk(Array.from({ length: 40 }, (_, n) => ({ name: `limited-${n}`, data: {} })));
  const times = [];
  const limiter = { max: 5, duration: 200 };
  workerOf('limited', async job => void times.push(Date.now()), { limiter });
  await waitUntil(() => times.length >= 10, 'work under the limit');
  await crash();
  await reconnected(queue);
  await waitUntil(async () => (await queue.getCompletedCount()) === 40, 'all under the limit');
  // At least max jobs lie between the first and the last of any max + 2 in a row that are not cut by the window's end.
  check(times.at(-1) - times[0] >= (40 / 5 - 2) * 200, `40 jobs took ${times.at(-1) - times[0]} ms: more than 5 in 200 ms`);
}

// The scheduler goes on after the crash and has one next job, not none and not two; events are read from where they were.
async function job_scheduler_and_events() {
  const queue = await queueOf('ticks');
  const events = open(new QueueEvents('ticks', { connection }));
  await events.waitUntilReady();
  const completed = [];
  events.on('completed', ({ jobId }) => completed.push(jobId));
  await queue.upsertJobScheduler('every-100', { every: 100 }, { name: 'tick', data: { of: 'every-100' } });
  await queue.upsertJobScheduler('nightly', { pattern: '0 15 3 * * *' }, { name: 'night' });
  const ticks = [];
  workerOf('ticks', async job => void ticks.push(job.id));
  await waitUntil(() => ticks.length >= 5 && completed.length >= 3, 'the scheduler ticks');
  await crash();
  const seen = ticks.length;
  await reconnected(queue);
  await waitUntil(() => ticks.length >= seen + 5 && completed.length >= ticks.length - 2, 'it ticks after the crash');
  const schedulers = await queue.getJobSchedulers();
  check(schedulers.map(each => each.key).sort().join() === 'every-100,nightly', `schedulers: ${schedulers.map(each => each.key)}`);
  await waitUntil(async () => (await queue.getDelayed()).length === 2, 'one next job of each scheduler', 5000);
  check(new Set(completed).size === completed.length, 'an event was read twice');
  await queue.removeJobScheduler('every-100');
  await waitUntil(async () => (await queue.getDelayed()).map(job => job.name).join() === 'night', 'only the other is left', 5000);
}

await run([jobs_through_a_crash, delays_and_priorities, retries_with_backoff, flows, rate_limit, job_scheduler_and_events], closeAll);
