// redlock: locks over three servers of which one is killed and restarted: never two holders.

import Redlock from 'redlock';
import { Redis } from 'ioredis';
import { check, crash, pause, ports, run, waitUntil } from '../control.mjs';

const WORKERS = 4;
const TTL_MS = 600_000;
const SHORT_MS = 1500;

const clientsOf = () =>
  ports.map(port => {
    const client = new Redis({
      port,
      retryStrategy: () => 20,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
    });
    client.on('error', () => {}); // a lock needs two of three
    return client;
  });
const open = [];

const valid = lock => lock !== undefined && lock.expiration > Date.now();

async function lockers(count, options = {}) {
  const made = Array.from({ length: count }, () => {
    const clients = clientsOf();
    open.push(...clients);
    const own = new Redlock(clients, { retryCount: 20, retryDelay: 5, retryJitter: 10, ...options });
    own.on('clientError', () => {});
    return { own, clients };
  });
  await waitUntil(() => open.every(client => client.status === 'ready'), 'connections to all servers');
  return made;
}

async function end() {
  for (const client of open.splice(0)) client.disconnect();
}

// A part that a killed server keeps after the release ends by itself: locks are short here. One that is still valid is had by nobody else.
async function one_holder_at_a_time() {
  const holders = new Map(); // resource -> its lock
  let granted = 0;
  let stopping = false;
  let failure = null;
  const work = async ({ own }, worker) => {
    for (let n = 0; !stopping; n++) {
      const resource = `resource-${n % 2}`;
      const lock = await own.lock(resource, SHORT_MS).catch(error => check(error.name === 'LockError', error.stack));
      if (!lock) continue;
      check(!valid(holders.get(resource)), `${worker} holds ${resource} together with somebody else`);
      holders.set(resource, lock);
      granted++;
      await pause(1);
      // redlock gives a lock up that it cannot extend.
      if (holders.get(resource) === lock) holders.delete(resource);
      if (n % 5 === 0) {
        const longer = await lock.extend(SHORT_MS).catch(error => check(error.name === 'LockError', error.stack));
        check(!longer || !valid(holders.get(resource)), `${worker} has extended ${resource}, which somebody else holds`);
      }
      await lock.unlock().catch(error => check(error.name === 'LockError', error.stack));
    }
  };
  const workers = (await lockers(WORKERS)).map((locker, worker) => work(locker, worker).catch(error => (failure ??= error)));
  for (let server = 0; server < ports.length; server++) {
    const seen = granted;
    await waitUntil(() => failure || granted >= seen + 40, `locks before server ${server} is killed`);
    await crash(server);
  }
  const seen = granted;
  await waitUntil(() => failure || granted >= seen + 40, 'locks after all servers were killed');
  stopping = true;
  await Promise.all(workers);
  if (failure) throw failure;
}

// Each server is killed in turn, so that every one of the three has to have kept its part.
async function held_through_crashes() {
  const [{ own }, { own: other }] = await lockers(2, { retryCount: 0 });
  const lock = await own.lock('held', TTL_MS);
  const several = await own.lock(['held-a', 'held-b'], TTL_MS);
  for (let server = 0; server < ports.length; server++) {
    await crash(server);
    await waitUntil(() => open.every(client => client.status === 'ready'), 'connections are back');
    for (const resource of ['held', 'held-b']) {
      const second = await other.lock(resource, TTL_MS).catch(error => check(error.name === 'LockError', error.stack));
      check(!second, `${resource} is granted a second time`);
    }
  }
  const extended = await lock.extend(TTL_MS);
  await extended.unlock();
  await several.unlock();
  const free = await other.lock('held', TTL_MS);
  await free.unlock();
}

await run([one_holder_at_a_time, held_through_crashes], end);
