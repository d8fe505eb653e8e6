"""P12: how long after a create commits does a claim that was already waiting return?

Creator and worker are two processes, so that neither waits for the other's interpreter; both read the
machine-wide monotonic clock. The wait ends with the worker's own commit of its lease.
"""

import multiprocessing
import time

from ..latency import percentile
from ..plan import Plan
from ..results import Results
from ..rounds import progress
from ..server import Server
from ..systems import engine

DATABASE = "ffbench_wake"
SETTLE_SECONDS = 0.02       # from the worker's last completion to the next create: it is asleep by then


def run(server: Server, plan: Plan, results: Results):
    """Once with a waiting claim, which is P12, and once with the procedure that waits without a snapshot."""
    engine.install(server, plan, DATABASE)
    for name, waiter in (("waiting claim", _claim), ("CALL ff_wait_for_work", _wait_for_work)):
        progress(f"{plan.wakes:,} wake-ups of a {name}")
        delays = _wake(server, plan, waiter)
        row = results.row("ff_engine", f"wake: {name}", 1)
        p50, p99 = percentile(delays, 50), percentile(delays, 99)
        if waiter is _claim:
            results.note_ratio("P12", p50, row)
            results.note_ratio("P12_p99", p99, row)
        else:
            row.note = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    server.drop_database(DATABASE)


def _claim(connection) -> float:
    """Waits inside the claim; returns when it had returned."""
    while True:
        row = connection.execute("SELECT handle FROM ff_claim('wake', 'w', wait => '5 s')").fetchone()
        returned = time.monotonic()
        if row:
            connection.execute("SELECT outcome FROM ff_complete(%s)", row)
            return returned


def _wait_for_work(connection) -> float:
    """Waits in the procedure; returns when that had returned, then takes the work away."""
    while connection.execute("CALL ff_wait_for_work('wake', '30 s')").fetchone()[0] != "work":
        pass
    returned = time.monotonic()
    handle = connection.execute("SELECT handle FROM ff_claim('wake', 'w')").fetchone()
    connection.execute("SELECT outcome FROM ff_complete(%s)", handle)
    return returned


def _worker(server: Server, waiter, count: int, pipe):
    with server.connect(DATABASE) as connection:
        for _ in range(count):
            pipe.send("waiting")
            pipe.send(waiter(connection))


def _wake(server: Server, plan: Plan, waiter) -> list[float]:
    """Milliseconds from the commit of each create to the return of the wait, never below zero: the worker
    can be back before the creator has heard of its own commit."""
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=_worker, args=(server, waiter, plan.wakes, there), daemon=True)
    worker.start()
    there.close()
    delays = []
    with server.connect(DATABASE) as connection:
        for _ in range(plan.wakes):
            here.recv()
            time.sleep(SETTLE_SECONDS)
            connection.execute("SELECT outcome FROM ff_create_execution('wake', 'job')")
            committed = time.monotonic()
            delays.append(max(0.0, here.recv() - committed) * 1000)
    worker.join()
    return delays
