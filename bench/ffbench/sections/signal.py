"""P13: how long from a suspend until the same attempt is claimed again, with a signal from another session between,
and what such a round costs beside a claim+complete.

Worker and sender are two processes. The worker suspends, tells the sender the address, and waits inside a claim.
"""

import multiprocessing
import time

from .. import pgbench
from ..latency import percentile
from ..plan import Plan
from ..results import Results
from ..rounds import progress
from ..sample import paired_ratio
from ..server import Server
from ..systems import engine

DATABASE = "ffbench_signal"
PAIRS = 40_000      # claims and completes that a round is compared with
CONDITION = '{"type": "signal", "waitpoint": "a", "match": "go"}'


def run(server: Server, plan: Plan, results: Results):
    engine.install(server, plan, DATABASE)
    server.execute(DATABASE, "SELECT outcome FROM ff_seed_waitpoint_secret('bench')")
    progress(f"{plan.wakes:,} rounds of suspend, signal and claim")
    delays = _rounds(server, plan.wakes)
    row = results.row("ff_engine", "suspend+signal+claim: one worker", 1)
    results.note_ratio("P13", percentile(delays, 50), row)
    results.note_ratio("P13_p99", percentile(delays, 99), row)
    _cpu(server, plan, results)
    server.drop_database(DATABASE)


def _worker(server: Server, count: int, pipe):
    with server.connect(DATABASE) as connection:
        connection.execute("SELECT outcome FROM ff_create_execution('signal', 'job')")
        handle = connection.execute("SELECT handle FROM ff_claim('signal', 'w')").fetchone()[0]
        for _ in range(count):
            begun = time.monotonic()
            address = connection.execute(
                "SELECT waitpoint_id, waitpoint_token FROM ff_suspend(%s, %s::jsonb)", [handle, CONDITION]).fetchone()
            pipe.send(address)
            row = None
            while row is None:
                row = connection.execute("SELECT handle FROM ff_claim('signal', 'w', wait => '5 s')").fetchone()
            handle = row[0]
            pipe.send(time.monotonic() - begun)


def _rounds(server: Server, count: int) -> list[float]:
    """Milliseconds of each round."""
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=_worker, args=(server, count, there), daemon=True)
    worker.start()
    there.close()
    delays = []
    with server.connect(DATABASE) as connection:
        for _ in range(count):
            address = here.recv()
            connection.execute("SELECT outcome FROM ff_deliver_signal(%s, %s, 'go')", address)
            delays.append(here.recv() * 1000)
    worker.join()
    return delays


def _cpu(server: Server, plan: Plan, results: Results):
    """The CPU time of a round over that of a claim+complete, alternating, each connection on a lane of its own."""
    server.execute(DATABASE, """
        SELECT outcome FROM generate_series(0, %s - 1) AS client,
               LATERAL ff_create_execution('round' || client, 'job')""", [plan.connections])
    rounds, pairs = [], []
    for _ in range(plan.rounds):
        # A number of calls and not a time: however fast the engine, the backlog does not run out.
        engine.fill(server, DATABASE, engine.LANE, PAIRS + PAIRS // 10)
        pairs.append(engine.pairs(server, plan, DATABASE, calls=PAIRS // plan.connections))
        rounds.append(pgbench.run(server, DATABASE, "engine_round.sql", plan.connections, seconds=plan.seconds,
                                  variables={"lane": "round", "primed": 0, "handle": "none"}))
        engine.finish_held(server, DATABASE, plan.connections)
        server.execute(DATABASE, """
            SELECT ff_revoke_lease(execution_id) FROM ff_leases WHERE lane LIKE 'round%%'""")
    row = results.row("ff_engine", "suspend+signal+claim", plan.connections)
    row.samples.extend(rounds)
    results.row("ff_engine", "claim+complete beside it", plan.connections).samples.extend(pairs)
    results.note_ratio("P13_cpu", paired_ratio(rounds, pairs, "cpu_us"), row)
