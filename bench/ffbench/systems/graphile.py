"""graphile-worker 0.17 (Node): its own worker process with a no-op task, defaults and batched."""

from functools import partial

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..server import Server
from . import worker_process

DATABASE = "ffbench_graphile"
MODES = {"graphile-worker": "default", "graphile-worker batched": "batched"}


def install(server: Server, plan: Plan):
    worker_process.install_node_packages()
    server.create_database(DATABASE)
    worker_process.run(server, DATABASE, ["npx", "graphile-worker", "--schema-only", "-c", server.url(DATABASE)])


def _fill(server: Server, jobs: int):
    server.execute(DATABASE, """
        SELECT count(*) FROM graphile_worker.add_jobs(
            array_fill(ROW('noop', %s::json, NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec,
                       ARRAY[%s::int]))""", [pgbench.MESSAGE, jobs])
    server.vacuum(DATABASE)


def cells(server: Server, plan: Plan) -> list[Cell]:
    fill = partial(_fill, server, plan.worker_jobs)
    drain = partial(worker_process.drain, server, DATABASE, jobs=plan.worker_jobs)
    return [Cell(name, "claim+complete", plan.connections,
                 partial(drain, ["node", "graphile.mjs", mode, plan.worker_jobs, plan.connections]), fill)
            for name, mode in MODES.items()]
