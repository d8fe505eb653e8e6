"""graphile-worker 0.17 (Node): its own worker process with a no-op task, defaults and batched."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..sample import Sample
from ..server import Server
from ..unavailable import Unavailable

DATABASE = "ffbench_graphile"
SOURCE = Path(__file__).parents[2] / "graphile"


def _work_folder() -> Path:
    """Node resolves packages beside the script, so the script is copied to where npm installs."""
    return Path(os.environ["FFBENCH_TARGET"]) / "graphile"


def _install_package(folder: Path):
    if not shutil.which("npm"):
        raise Unavailable("npm is missing")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "drain.mjs"):
        shutil.copy(SOURCE / name, folder / name)
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"],
                          cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"npm install failed: {done.stderr.strip()[-200:]}")


def install(server: Server, plan: Plan):
    folder = _work_folder()
    _install_package(folder)
    server.create_database(DATABASE)
    done = subprocess.run(["npx", "graphile-worker", "--schema-only", "-c", server.url(DATABASE)],
                          cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"its schema did not install: {done.stderr.strip()[-200:]}")


def _fill(server: Server, jobs: int):
    server.execute(DATABASE, """
        SELECT count(*) FROM graphile_worker.add_jobs(
            array_fill(ROW('noop', %s::json, NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec,
                       ARRAY[%s::int]))""", [pgbench.MESSAGE, jobs])
    server.vacuum(DATABASE)


def _drain(server: Server, plan: Plan, mode: str) -> Sample:
    with server.measured(DATABASE) as meter:
        done = subprocess.run(["node", "drain.mjs", mode, str(plan.graphile_jobs), str(plan.connections)],
                              cwd=_work_folder(), env={**os.environ, "BENCH_DATABASE_URL": server.url(DATABASE)},
                              capture_output=True, text=True)
    if done.returncode:
        raise pgbench.DriverFailed(done.stderr.strip()[-500:])
    seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return Sample(plan.graphile_jobs, seconds, meter.cpu_seconds, meter.wal_bytes)


def cells(server: Server, plan: Plan) -> list[Cell]:
    fill = partial(_fill, server, plan.graphile_jobs)
    modes = {"graphile-worker": "default", "graphile-worker batched": "batched"}
    return [Cell(name, "claim+complete", plan.connections, partial(_drain, server, plan, mode), fill)
            for name, mode in modes.items()]
