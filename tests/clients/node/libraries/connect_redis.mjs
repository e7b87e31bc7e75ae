// connect-redis: sessions of an Express application over real HTTP requests, through a crash: nobody is logged out.

import express from 'express';
import session from 'express-session';
import { RedisStore } from 'connect-redis';
import { createClient } from 'redis';
import { once } from 'node:events';
import { check, crash, pause, port, run, waitUntil } from '../control.mjs';

const USERS = 8;
const TTL_S = 1000;

const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: 20 }, disableOfflineQueue: true });
client.on('error', () => {}); // requests are answered with 500
await client.connect();
const store = new RedisStore({ client, prefix: 'session:', ttl: TTL_S });

const application = express();
application.use(session({ store, secret: 'of the test', resave: false, saveUninitialized: false, cookie: { maxAge: TTL_S * 1000 } }));
// The session is saved before the reply goes out: a reply acknowledges it.
const saved = (request, response) => request.session.save(error => (error ? response.sendStatus(500) : response.json(request.session.data)));
application.post('/login/:user', (request, response) => {
  request.session.regenerate(error => {
    if (error) return response.sendStatus(500);
    request.session.data = { user: request.params.user, cart: [] };
    saved(request, response);
  });
});
application.post('/cart/:item', (request, response) => {
  if (!request.session.data) return response.sendStatus(401);
  request.session.data.cart.push(request.params.item);
  saved(request, response);
});
application.get('/', (request, response) => (request.session.data ? response.json(request.session.data) : response.sendStatus(401)));
application.post('/logout', (request, response) => request.session.destroy(error => response.sendStatus(error ? 500 : 204)));
application.use((error, request, response, next) => (response.headersSent ? request.socket.destroy() : response.sendStatus(500)));
const server = application.listen(0, '127.0.0.1');
await once(server, 'listening');
const base = `http://127.0.0.1:${server.address().port}`;

// A browser with one cookie.
class Browser {
  async ask(method, path) {
    const headers = this.cookie ? { cookie: this.cookie } : {};
    let response;
    let body;
    try {
      response = await fetch(base + path, { method, headers });
      body = await response.text();
    } catch {
      return { status: 500, body: null }; // the store was gone when the reply was on its way
    }
    const cookie = response.headers.getSetCookie()[0];
    if (cookie) this.cookie = cookie.split(';')[0];
    return { status: response.status, body: response.status === 200 ? JSON.parse(body) : null };
  }
}

async function sessions_through_a_crash() {
  let requests = 0;
  let stopping = false;
  let failure = null;
  const browsers = Array.from({ length: USERS }, () => new Browser());
  const carts = Array.from({ length: USERS }, () => []);
  const unknown = Array.from({ length: USERS }, () => new Set());
  const shop = async user => {
    const browser = browsers[user];
    check((await browser.ask('POST', `/login/user-${user}`)).status === 200, 'a login');
    for (let n = 0; !stopping; n++) {
      const item = `item-${n}`;
      const { status, body } = await browser.ask('POST', `/cart/${item}`);
      check(status !== 401, `user-${user} is logged out`);
      if (status === 500) {
        unknown[user].add(item);
        await pause(10);
        continue;
      }
      check(body.user === `user-${user}`, `user-${user} has the session of ${body.user}`);
      carts[user].push(item);
      check(carts[user].every(each => body.cart.includes(each)), 'the cart has lost what was in it');
      requests++;
    }
  };
  const users = browsers.map((_, user) => shop(user).catch(error => (failure ??= error)));
  const reach = count => waitUntil(() => failure || requests >= count, 'requests are answered');
  await reach(300);
  await crash();
  const seen = requests;
  await reach(seen + 300);
  stopping = true;
  await Promise.all(users);
  if (failure) throw failure;
  for (const [user, browser] of browsers.entries()) {
    const { status, body } = await browser.ask('GET', '/');
    check(status === 200, `user-${user} is logged out: ${status}`);
    const missing = carts[user].filter(item => !body.cart.includes(item));
    const strange = body.cart.filter(item => !carts[user].includes(item) && !unknown[user].has(item));
    check(missing.length + strange.length === 0, `missing: ${missing.slice(0, 5)}, nobody put there: ${strange.slice(0, 5)}`);
  }
  check((await store.length()) === USERS, `${await store.length()} sessions of ${USERS} users`);
  for (const id of await store.ids()) check((await client.ttl(`session:${id}`)) > TTL_S - 120, 'a session has lost its end');
}

// What ended before the crash is not back after it.
async function logouts() {
  const browsers = Array.from({ length: USERS }, () => new Browser());
  for (const [user, browser] of browsers.entries()) check((await browser.ask('POST', `/login/again-${user}`)).status === 200, 'a login');
  for (const browser of browsers.slice(0, USERS / 2)) check((await browser.ask('POST', '/logout')).status === 204, 'a logout');
  await crash();
  await waitUntil(() => client.isReady, 'the store has its connection again');
  const answers = [];
  for (const browser of browsers) answers.push((await browser.ask('GET', '/')).status);
  check(answers.join() === [...Array(USERS / 2).fill(401), ...Array(USERS / 2).fill(200)].join(), `answers: ${answers}`);
  await store.clear();
  check((await store.length()) === 0, 'sessions are cleared');
}

await run([sessions_through_a_crash, logouts], async () => void (await client.flushAll()));
