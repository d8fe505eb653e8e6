"""R1, the hand-written queue: the honest price of our semantics is measured against it."""

from functools import partial
from pathlib import Path

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..server import Server

DATABASE = "ffbench_handwritten"
SCHEMA = Path(__file__).parents[2] / "schema" / "handwritten.sql"


def install(server: Server, plan: Plan):
    server.create_database(DATABASE)
    server.execute(DATABASE, SCHEMA.read_text())


def _fill(server: Server, backlog: int):
    server.execute(DATABASE, """
        INSERT INTO job (lane, payload)
        SELECT 'bench', %s::bytea FROM generate_series(
            1, %s - (SELECT count(*) FROM job WHERE lane = 'bench' AND state = 'ready'))""",
        [pgbench.PAYLOAD, backlog])
    server.vacuum(DATABASE)


def cells(server: Server, plan: Plan) -> list[Cell]:
    drive = partial(pgbench.run, server, DATABASE, connections=plan.connections, seconds=plan.seconds)
    fill = partial(_fill, server, plan.backlog)
    pair = Cell("R1", "claim+complete", plan.connections, partial(drive, "handwritten_pair.sql"), fill)
    if plan.quick:
        return [pair]
    sweep = partial(server.vacuum, DATABASE)
    return [
        pair,
        Cell("R1", "create", plan.connections, partial(drive, "handwritten_create.sql"), sweep),
        Cell("R1", "lifecycle", plan.connections, partial(drive, "handwritten_lifecycle.sql"), fill),
    ]
