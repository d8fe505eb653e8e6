// Drains `jobs` prepared jobs with one graphile-worker process and prints the seconds it took as JSON.
// `mode` is "default" (one job per fetch and per completion) or "batched" (what its documentation
// recommends for speed: a local queue and batched completions).
import { run } from "graphile-worker";

const [mode, jobsText, concurrencyText] = process.argv.slice(2);
const jobs = Number(jobsText);
const batched = {
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

let done = 0;
let allDone;
const finished = new Promise((resolve) => { allDone = resolve; });
const silent = { error: console.error, warn: () => {}, info: () => {}, debug: () => {} };
const { Logger } = await import("graphile-worker");

const started = performance.now();
const runner = await run({
  connectionString: process.env.BENCH_DATABASE_URL,
  concurrency: Number(concurrencyText),
  maxPoolSize: Number(concurrencyText) + 2,
  noHandleSignals: true,
  logger: new Logger(() => (level, message) => (silent[level] ?? (() => {}))(message)),
  preset: mode === "batched" ? { worker: batched } : undefined,
  taskList: {
    noop: async () => { if (++done === jobs) allDone(); },
  },
});
await finished;
await runner.stop();
console.log(JSON.stringify({ jobs, seconds: (performance.now() - started) / 1000 }));
