"""Procrastinate 3: its SQL functions called directly, and its own Python worker with a no-op task."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..sample import Sample
from ..server import Server
from ..unavailable import Unavailable

DATABASE = "ffbench_procrastinate"
WORKER_DATABASE = "ffbench_procrastinate_worker"      # its fetch reads past other queues' jobs of the same table
DRAIN = Path(__file__).parents[1] / "procrastinate_drain.py"


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


def _drain(server: Server, plan: Plan) -> Sample:
    """Its worker process works the queue off; the CPU figure is the server's alone, as everywhere."""
    with server.measured(WORKER_DATABASE) as meter:
        done = subprocess.run([sys.executable, str(DRAIN), str(plan.connections)],
                              env=server.environment(WORKER_DATABASE), capture_output=True, text=True)
    if done.returncode:
        raise pgbench.DriverFailed(done.stderr.strip()[-500:])
    seconds = json.loads(done.stdout)["seconds"]
    return Sample(plan.procrastinate_jobs, seconds, meter.cpu_seconds, meter.wal_bytes)


def cells(server: Server, plan: Plan) -> list[Cell]:
    timed = partial(pgbench.run, server, DATABASE, connections=plan.connections, seconds=plan.seconds)
    return [
        Cell("procrastinate SQL", "claim+complete", plan.connections, partial(timed, "procrastinate_pair.sql"),
             partial(_fill, server, DATABASE, plan.backlog)),
        Cell("procrastinate SQL", "create", plan.connections, partial(timed, "procrastinate_defer.sql"),
             partial(server.vacuum, DATABASE)),
        Cell("procrastinate worker", "claim+complete", plan.connections, partial(_drain, server, plan),
             partial(_fill, server, WORKER_DATABASE, plan.procrastinate_jobs)),
    ]
