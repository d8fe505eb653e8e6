"""P9: does a backlog of a million slow the claim down? Same load on 1 k and on 1 M ready executions."""

from functools import partial

from ..cell import Cell
from ..plan import Plan
from ..results import Results
from ..rounds import measure, progress
from ..sample import paired_ratio
from ..server import Server
from ..systems import engine

SMALL, LARGE = "ffbench_backlog_small", "ffbench_backlog_large"


def run(server: Server, plan: Plan, results: Results):
    """A database for each, run alternately. The backlog is topped up by the load itself (`steady_pairs`)."""
    small = _side(server, plan, SMALL, plan.small_backlog)
    large = _side(server, plan, LARGE, plan.large_backlog)
    for number in range(1, plan.rounds + 1):
        for cell in (small, large) if number % 2 else (large, small):
            measure(results, cell, f"backlog {number}/{plan.rounds}")
    if results.samples(small.key) and results.samples(large.key):
        decay = paired_ratio(results.samples(large.key), results.samples(small.key))
        results.note_ratio("P9", decay, results.rows[large.key])
    server.drop_database(SMALL)
    server.drop_database(LARGE)


def _side(server: Server, plan: Plan, database: str, backlog: int) -> Cell:
    progress(f"filling a backlog of {backlog:,}")
    engine.install(server, plan, database)
    engine.fill(server, database, engine.LANE, backlog)
    steady = partial(engine.steady_pairs, server, plan, database, seconds=plan.seconds)
    return Cell("ff_engine", f"backlog {backlog:,}", plan.connections, steady, partial(server.vacuum, database))
