"""P10: does a snapshot held open, which stops vacuum in every queue, slow the claim down?"""

from contextlib import contextmanager
from functools import partial
from statistics import mean

from ..cell import Cell
from ..plan import Plan
from ..results import Results
from ..rounds import measure, progress
from ..sample import median_throughput
from ..server import Server
from ..systems import engine

DATABASE = "ffbench_snapshot"
FREE, HELD = "ff_engine no snapshot held", "ff_engine snapshot held"


@contextmanager
def held_snapshot(server: Server, database: str):
    """A REPEATABLE READ transaction that has looked once and then idles, as a forgotten report does."""
    with server.connect(database) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_class")
        yield
        connection.execute("ROLLBACK")


def run(server: Server, plan: Plan, results: Results):
    """The full form judges the peak rate after the held minutes, the quick form a drain under the snapshot."""
    engine.install(server, plan, DATABASE)
    (_drained if plan.quick else _loaded)(server, plan, results)
    free, held = results.samples(FREE), results.samples(HELD)
    if free and held:
        results.note_ratio("P10", median_throughput(held) / mean(s.throughput for s in free), results.rows[HELD])
    server.drop_database(DATABASE)


def _drained(server: Server, plan: Plan, results: Results):
    """Half the claims before, all of them while the snapshot is held, half after it."""
    engine.fill(server, DATABASE, engine.LANE, 2 * plan.drained_claims + engine.BATCH)
    sweep = partial(server.vacuum, DATABASE)
    measure(results, _drain(server, plan, "no snapshot held", plan.drained_claims // 2, sweep), "quick P10")
    sweep()
    with held_snapshot(server, DATABASE):
        measure(results, _drain(server, plan, "snapshot held", plan.drained_claims), "quick P10")
    measure(results, _drain(server, plan, "no snapshot held", plan.drained_claims // 2, sweep), "quick P10")


def _drain(server: Server, plan: Plan, name: str, claims: int, prepare=lambda: None) -> Cell:
    drain = partial(engine.pairs, server, plan, DATABASE, calls=claims // plan.connections)
    return Cell("ff_engine", name, plan.connections, drain, prepare)


def _loaded(server: Server, plan: Plan, results: Results):
    """Peak before; steady load with the snapshot held; peak with it still held; peak after."""
    engine.fill(server, DATABASE, engine.LANE, plan.drained_claims)
    sweep = partial(server.vacuum, DATABASE)
    peak = partial(engine.steady_pairs, server, plan, DATABASE, seconds=plan.seconds)
    free = Cell("ff_engine", "no snapshot held", plan.connections, peak, sweep)
    held = Cell("ff_engine", "snapshot held", plan.connections, peak)
    _repeat(results, plan, free)
    if not results.samples(FREE):
        return
    rate = plan.load * median_throughput(results.samples(FREE))
    steady = partial(engine.steady_pairs, server, plan, DATABASE,
                     seconds=plan.held_seconds, extra=[f"--rate={rate:.0f}"])
    with held_snapshot(server, DATABASE):
        progress(f"holding a snapshot for {plan.held_seconds:.0f} s at {rate:,.0f} pairs/s")
        measure(results, Cell("ff_engine", "snapshot held, steady load", plan.connections, steady), "P10")
        _repeat(results, plan, held)
    _repeat(results, plan, free)


def _repeat(results: Results, plan: Plan, cell: Cell):
    for number in range(1, plan.rounds + 1):
        measure(results, cell, f"P10 {number}/{plan.rounds}")
