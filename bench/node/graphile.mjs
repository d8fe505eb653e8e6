// Drains prepared jobs with one graphile-worker process and prints the seconds it took as JSON.
// `mode` is "default" (one job per fetch and per completion) or "batched" (what its documentation
// recommends for speed: a local queue and batched completions).
import { Logger, run } from "graphile-worker";

const [mode, jobs, concurrency] = process.argv.slice(2);
const batched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const errorsOnly = new Logger(() => (level, message) => { if (level === "error") console.error(message); });

let done = 0;
let allDone;
const finished = new Promise((resolve) => { allDone = resolve; });

const started = performance.now();
const runner = await run({
  connectionString: process.env.BENCH_DATABASE_URL,
  concurrency: Number(concurrency),
  maxPoolSize: Number(concurrency) + 2,
  noHandleSignals: true,
  logger: errorsOnly,
  preset: mode === "batched" ? { worker: batched } : undefined,
  taskList: { noop: async () => { if (++done === Number(jobs)) allDone(); } },
});
await finished;
await runner.stop();
console.log(JSON.stringify({ seconds: (performance.now() - started) / 1000 }));
