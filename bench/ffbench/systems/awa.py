"""awa 0.6 (Rust core, Python package): its own worker process with a no-op handler, 16 and 256 jobs at once."""

from functools import partial
from importlib.util import find_spec

from ..cell import Cell
from ..plan import Plan
from ..server import Server
from ..unavailable import Unavailable
from . import worker_process

DATABASE = "ffbench_awa"
DRIVER = "ffbench.drains.awa"
CONCURRENCY = (16, 256)


def install(server: Server, plan: Plan):
    if not find_spec("awa"):
        raise Unavailable("the Python package awa-pg is missing")
    server.create_database(DATABASE)
    worker_process.run(server, DATABASE, [DRIVER, "install"])


def _fill(server: Server, jobs: int):
    worker_process.run(server, DATABASE, [DRIVER, "fill", str(jobs)])
    server.vacuum(DATABASE)


def cells(server: Server, plan: Plan) -> list[Cell]:
    fill = partial(_fill, server, plan.worker_jobs)
    drain = partial(worker_process.drain, server, DATABASE, jobs=plan.worker_jobs)
    return [Cell(f"awa, {concurrency} at once", "claim+complete", plan.connections,
                 partial(drain, [DRIVER, "drain", str(plan.worker_jobs), str(concurrency)]), fill)
            for concurrency in CONCURRENCY]
