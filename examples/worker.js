#!/usr/bin/env node
// A worker in Node: claims executions of a lane, works, completes them, waits for more.
//
//     worker.js LANE [LEASE]      LEASE in seconds, 30 by default
//
// libpq's variables (PGHOST, PGDATABASE, …) lead to the database. SIGTERM lets the work in hand end.
// Needs pg: npm ci
'use strict';

const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client } = require('pg');

const [lane, lease = '30'] = process.argv.slice(2);
const instance = `${os.hostname()}-${process.pid}`;
// The lease is over: the execution is purged, ended, with another worker, or free again.
const lost = ['FF001', 'FF210', 'FF401', 'FF402', 'FF403'];

// Yours. What it returns is the result, what it throws fails the attempt.
// Work that keeps the processor busy for long belongs in a worker thread, or nothing renews its lease.
async function work(kind, payload) {
  switch (kind) {
    case 'shout':
      return Buffer.from(payload.toString().toUpperCase());
    case 'sleep':
      await sleep(Number(payload) * 1000);
      return Buffer.from('slept');
    default:
      throw new Error(`no idea how to ${kind}`);
  }
}

async function perform(client, job) {
  const renewal = setInterval(
    () => client.query('SELECT ff_renew($1)', [job.handle]).catch((error) => console.error(error.message)),
    (Number(lease) * 1000) / 3,
  );
  try {
    const outcome = await work(job.kind, job.payload).then((result) => ({ result }), (error) => ({ error }));
    clearInterval(renewal);
    if (outcome.error) {
      await client.query('SELECT ff_fail($1, $2)', [job.handle, outcome.error.message]);
    } else {
      // Between BEGIN and COMMIT, writes of your own would commit together with the completion or not at all.
      await client.query('SELECT ff_complete($1, $2)', [job.handle, outcome.result]);
    }
  } catch (error) {
    if (!lost.includes(error.code)) throw error;
    console.error(`${job.execution_id} has been taken away: ${error.message}`);
  }
}

// Ends the wait on the server, which would go on for a client that has gone.
async function cancel(waiter) {
  const other = new Client();
  await other.connect();
  await other.query('SELECT pg_cancel_backend($1)', [waiter.processID]);
  await other.end();
}

async function main() {
  const client = new Client();
  await client.connect();
  let stopping = false;
  let waiting = false;
  process.on('SIGTERM', () => {
    stopping = true;
    if (waiting) cancel(client);
  });
  while (!stopping) {
    const claim = "SELECT * FROM ff_claim($1, 'example', $2, lease_ttl => $3)";
    const { rows: [job] } = await client.query(claim, [lane, instance, `${lease} s`]);
    if (job) {
      await perform(client, job);
    } else if (!stopping) {
      waiting = true;
      await client.query("CALL ff_wait_for_work($1, '30 s')", [lane]).catch((error) => {
        if (!stopping) throw error;
      });
      waiting = false;
    }
  }
  await client.end();
}

main();
