"""Procrastinate 3: its SQL functions called directly, and its own Python worker with a no-op task."""

from functools import partial

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..server import Server
from ..unavailable import Unavailable
from . import worker_process

DATABASE = "ffbench_procrastinate"
WORKER_DATABASE = "ffbench_procrastinate_worker"      # its fetch reads past other queues' jobs of the same table
DRIVER = "ffbench.drains.procrastinate"


def install(server: Server, plan: Plan):
    try:
        from procrastinate.schema import SchemaManager
    except ImportError as missing:
        raise Unavailable(str(missing)) from missing
    for database in (DATABASE, WORKER_DATABASE):
        server.create_database(database)
        server.execute(database, SchemaManager.get_schema())


def _fill(server: Server, database: str, jobs: int):
    server.execute(database, """
        SELECT procrastinate_defer_jobs_v1(array_agg(
            ROW('bench', 'noop', 0, NULL, NULL, %s, NULL)::procrastinate_job_to_defer_v1))
        FROM generate_series(1, %s - (SELECT count(*) FROM procrastinate_jobs
                                      WHERE queue_name = 'bench' AND status = 'todo'))
        HAVING count(*) > 0""", [pgbench.MESSAGE, jobs])
    server.vacuum(database)


def cells(server: Server, plan: Plan) -> list[Cell]:
    timed = partial(pgbench.run, server, DATABASE, connections=plan.connections, seconds=plan.seconds)
    return [
        Cell("procrastinate SQL", "claim+complete", plan.connections, partial(timed, "procrastinate_pair.sql"),
             partial(_fill, server, DATABASE, plan.backlog)),
        Cell("procrastinate SQL", "create", plan.connections, partial(timed, "procrastinate_defer.sql"),
             partial(server.vacuum, DATABASE)),
        Cell("procrastinate worker", "claim+complete", plan.connections,
             partial(worker_process.drain, server, WORKER_DATABASE, [DRIVER, str(plan.connections)], plan.slow_jobs),
             partial(_fill, server, WORKER_DATABASE, plan.slow_jobs)),
    ]
