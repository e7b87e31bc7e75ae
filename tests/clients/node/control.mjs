// What a script says to its controller (../run.py), and how it waits.

import { once } from 'node:events';
import readline from 'node:readline';

export const port = Number(process.env.PORT);
export const ports = (process.env.PORTS ?? process.env.PORT).split(' ').map(Number);
const control = readline.createInterface({ input: process.stdin });
export const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

export function check(condition, text) {
  if (!condition) throw new Error(text);
}

// Has the server killed and restarted; resolves when it serves again.
export async function crash(server = 0) {
  const answered = once(control, 'line');
  console.log(`@crash ${server}`);
  const [line] = await answered;
  check(line.trim() === '@restarted', `controller said ${line}`);
}

export async function waitUntil(condition, what, limitMs = 30_000) {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    check(Date.now() < deadline, `${what}: not within ${limitMs} ms`);
    await pause(10);
  }
}

// Runs the functions in turn, `before` ahead of each, and ends the process.
export async function run(scenes, before = async () => {}) {
  for (const scene of scenes) {
    try {
      await before();
      await scene();
    } catch (error) {
      console.log(`${scene.name}: FAILED: ${error.stack}`);
      process.exit(1);
    }
    console.log(`${scene.name}: passed`);
  }
  process.exit(0);
}
