"""pgmq, the most used queue in plain SQL. Its install script ships inside the crate of the same name."""

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..server import Server
from ..unavailable import Unavailable

DATABASE = "ffbench_pgmq"
CRATE = "pgmq"
VERSION = "0.34.0-alpha.7"


def _script() -> str:
    """Lets cargo download the crate and reads the SQL file out of its source."""
    if not shutil.which("cargo"):
        raise Unavailable("cargo is missing")
    subprocess.run(["cargo", "info", f"{CRATE}@{VERSION}"], capture_output=True)
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    found = sorted(home.glob(f"registry/src/*/{CRATE}-{VERSION}/src/install/embedded/sql/pgmq.sql"))
    if not found:
        raise Unavailable(f"cargo did not provide {CRATE} {VERSION}")
    return found[0].read_text()


def install(server: Server, plan: Plan):
    script = _script()
    server.create_database(DATABASE)
    server.execute(DATABASE, script)
    server.execute(DATABASE, "SELECT pgmq.create('bench'), pgmq.create('inbox')")


def _fill(server: Server, backlog: int):
    server.execute(DATABASE, """
        SELECT count(*) FROM pgmq.send_batch('bench', array_fill(%s::jsonb, ARRAY[greatest(
            0, %s - (SELECT count(*) FROM pgmq.q_bench))]::int[]))""", [pgbench.MESSAGE, backlog])
    server.vacuum(DATABASE)


def cells(server: Server, plan: Plan) -> list[Cell]:
    drive = partial(pgbench.run, server, DATABASE, connections=plan.connections)
    timed = partial(drive, seconds=plan.seconds)
    fill = partial(_fill, server, plan.backlog)
    return [
        Cell("pgmq", "claim+complete", plan.connections, partial(timed, "pgmq_pair.sql"), fill),
        Cell("pgmq", "create", plan.connections, partial(timed, "pgmq_send.sql"), partial(server.vacuum, DATABASE)),
        Cell("pgmq", "batch 50", plan.batch_connections,
             partial(drive, "pgmq_batch.sql", connections=plan.batch_connections,
                     calls=plan.batch_calls, ops_per_call=50), fill),
    ]
