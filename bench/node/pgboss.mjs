// pg-boss: `fill` makes the queue and its jobs, `drain` fetches and completes them with `concurrency`
// loops, `size` jobs per call, and prints the seconds it took as JSON.
import PgBoss from "pg-boss";

const [verb, jobs, concurrency, size] = process.argv.slice(2).map((text, i) => (i ? Number(text) : text));
const boss = new PgBoss({
  connectionString: process.env.BENCH_DATABASE_URL,
  max: concurrency, supervise: false, schedule: false,
});
boss.on("error", (error) => console.error(error.message));
await boss.start();

if (verb === "fill") {
  await boss.createQueue("bench");
  const data = { data: "m".repeat(244) };
  for (let left = jobs; left > 0; left -= 1000) {
    await boss.insert(Array.from({ length: Math.min(left, 1000) }, () => ({ name: "bench", data })));
  }
} else {
  let left = jobs;
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (left > 0) {
      const taken = await boss.fetch("bench", { batchSize: size });
      if (taken.length === 0) break;
      await boss.complete("bench", taken.map((job) => job.id));
      left -= taken.length;
    }
  }));
  console.log(JSON.stringify({ jobs: jobs - left, seconds: (performance.now() - started) / 1000 }));
}
await boss.stop({ graceful: false });
