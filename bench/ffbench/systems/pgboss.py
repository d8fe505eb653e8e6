"""pg-boss 10 (Node): its fetch and complete called in loops, one job and fifty jobs at a time."""

from functools import partial

from ..cell import Cell
from ..plan import Plan
from ..server import Server
from . import worker_process

DATABASE = "ffbench_pgboss"


def install(server: Server, plan: Plan):
    worker_process.install_node_packages()
    server.create_database(DATABASE)


def _fill(server: Server, jobs: int):
    server.execute(DATABASE, "DROP SCHEMA IF EXISTS pgboss CASCADE")
    worker_process.run(server, DATABASE, ["node", "pgboss.mjs", "fill", jobs, 2, 1])
    server.vacuum(DATABASE)


def cells(server: Server, plan: Plan) -> list[Cell]:
    drain = partial(worker_process.drain, server, DATABASE)
    return [
        Cell("pg-boss", "claim+complete", plan.connections,
             partial(drain, ["node", "pgboss.mjs", "drain", plan.slow_jobs, plan.connections, 1], plan.slow_jobs),
             partial(_fill, server, plan.slow_jobs)),
        Cell("pg-boss", "batch 50", plan.batch_connections,
             partial(drain, ["node", "pgboss.mjs", "drain", plan.worker_jobs, plan.batch_connections, 50],
                     plan.worker_jobs),
             partial(_fill, server, plan.worker_jobs)),
    ]
