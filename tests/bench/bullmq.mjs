// BullMQ at its work: adds jobs and has them processed by several workers, at the same time; prints the seconds from the first add to
// the last job's end. PORT, JOBS (20000), WORKERS (8), CONCURRENCY (1: of each worker), ADDERS (8: adds on their way at a time).

import { createRequire } from 'node:module';

const require = createRequire(new URL('../clients/node/package.json', import.meta.url));
const { Queue, Worker } = require('bullmq');
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const connection = { host: '127.0.0.1', port: number('PORT', 6379), maxRetriesPerRequest: null };
const jobs = number('JOBS', 20_000);
const workers = number('WORKERS', 8);
const adders = number('ADDERS', 8);

const queue = new Queue('bench', { connection });
await queue.waitUntilReady();
let done = 0;
let finish;
const finished = new Promise(resolve => (finish = resolve));
const all = Array.from({ length: workers }, () => {
  const worker = new Worker('bench', async job => job.data.n, { connection, concurrency: number('CONCURRENCY', 1), autorun: false });
  worker.on('completed', () => ++done === jobs && finish());
  worker.on('error', error => {
    console.error(error.stack);
    process.exit(1);
  });
  return worker;
});
await Promise.all(all.map(worker => worker.waitUntilReady()));

const start = performance.now();
for (const worker of all) worker.run();
let next = 0;
const add = async () => {
  while (next < jobs) await queue.add('job', { n: next++, payload: 'x'.repeat(100) });
};
await Promise.all(Array.from({ length: adders }, add));
const added = performance.now();
await finished;
const end = performance.now();
const counts = await queue.getJobCounts('completed', 'waiting', 'active', 'failed');
if (counts.completed !== jobs) throw new Error(`${counts.completed} of ${jobs} jobs are completed`);
await Promise.all(all.map(worker => worker.close(true)));
await queue.close();
console.log(JSON.stringify({ seconds: (end - start) / 1000, added: (added - start) / 1000, jobs, workers }));
