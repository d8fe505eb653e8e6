"""R0, the floor: one durable single-row UPDATE, and one durable single-row INSERT of the payload."""

from functools import partial
from pathlib import Path

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..server import Server

DATABASE = "ffbench_floor"
SCHEMA = Path(__file__).parents[2] / "schema" / "floor.sql"


def install(server: Server, plan: Plan):
    server.create_database(DATABASE)
    server.execute(DATABASE, SCHEMA.read_text())


def cells(server: Server, plan: Plan) -> list[Cell]:
    drive = partial(pgbench.run, server, DATABASE, connections=plan.connections, seconds=plan.seconds)
    sweep = partial(server.vacuum, DATABASE)
    return [
        Cell("R0", "update", plan.connections, partial(drive, "floor_update.sql"), sweep),
        Cell("R0", "insert", plan.connections, partial(drive, "floor_insert.sql"), sweep),
    ]
