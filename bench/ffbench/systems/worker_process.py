"""Peers whose public API is a library are driven by a process of their own, in their own language.

Its CPU time is not counted: the figure is the server's alone, as for the systems that pgbench drives.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..pgbench import DriverFailed
from ..sample import Sample
from ..server import Server
from ..unavailable import Unavailable

NODE_SOURCE = Path(__file__).parents[2] / "node"


def node_folder() -> Path:
    """Node looks for packages beside the script, so the scripts are copied to where npm installs."""
    return Path(os.environ["FFBENCH_TARGET"]) / "node"


def install_node_packages():
    folder = node_folder()
    if not shutil.which("npm"):
        raise Unavailable("npm is missing")
    shutil.copytree(NODE_SOURCE, folder, dirs_exist_ok=True)
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"],
                          cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"npm install failed: {done.stderr.strip()[-200:]}")


def run(server: Server, database: str, command: list) -> str:
    """Runs a driver against a database and returns what it printed."""
    node = command[0] in ("node", "npx")
    done = subprocess.run([sys.executable, "-m", *command] if not node else [str(word) for word in command],
                          cwd=node_folder() if node else None,
                          env={**server.environment(database), "BENCH_DATABASE_URL": server.url(database)},
                          capture_output=True, text=True)
    if done.returncode:
        raise DriverFailed(done.stderr.strip()[-500:])
    return done.stdout


def drain(server: Server, database: str, command: list, jobs: int) -> Sample:
    """Runs a driver that works off `jobs` prepared jobs and prints its seconds as JSON last."""
    with server.measured(database) as meter:
        printed = json.loads(run(server, database, command).splitlines()[-1])
    return Sample(printed.get("jobs", jobs), printed["seconds"], meter.cpu_seconds, meter.wal_bytes)
