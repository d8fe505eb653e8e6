"""Drives one system with pgbench: prepared protocol, custom scripts, handles passed by \\gset."""

import re
import subprocess
from pathlib import Path

from .sample import Sample
from .server import Server

SCRIPTS = Path(__file__).parents[1] / "pgbench"
PAYLOAD = "\\x" + "ab" * 256
EMPTY_CLAIM = ("expected one row, got 0", 'malformed array literal: ""')
MESSAGE = '{"data": "' + "m" * 244 + '"}'


class DriverFailed(Exception):
    """pgbench ended early: a statement failed, or a claim came back empty-handed."""


def command(script: str, connections: int, variables: dict, extra: list[str]) -> list[str]:
    """The command line; variables become query parameters, as a driver would send them."""
    defined = {"payload": PAYLOAD, "message": MESSAGE, **variables}
    defines = [f"--define={name}={value}" for name, value in defined.items()]
    return ["pgbench", "--protocol=prepared", "--no-vacuum", f"--client={connections}", f"--jobs={min(2, connections)}",
            f"--file={SCRIPTS / script}", *defines, *extra]


def run(server: Server, database: str, script: str, connections: int, *, seconds: float | None = None,
        calls: int | None = None, ops_per_call: int = 1, variables: dict | None = None,
        extra: list[str] | None = None) -> Sample:
    """Runs a script for a time or for a number of calls per connection and returns what it cost."""
    length = [f"--time={round(seconds)}"] if seconds else [f"--transactions={calls}"]
    with server.measured(database) as meter:
        done = subprocess.run(command(script, connections, variables or {}, length + (extra or [])),
                              env=server.environment(database), capture_output=True, text=True)
    if done.returncode != 0:
        raise DriverFailed(f"{script}: {_reason(done.stderr)}")
    return _parse(done.stdout, ops_per_call, meter)


def _reason(stderr: str) -> str:
    """The first line that says why, with the one cause that needs explaining spelled out."""
    if any(sign in stderr for sign in EMPTY_CLAIM):
        return "a claim found no work; if the backlog ran out, raise --backlog"
    lines = [line for line in stderr.splitlines() if "error" in line.lower()]
    return lines[0] if lines else stderr.strip()[-300:]


def _parse(stdout: str, ops_per_call: int, meter) -> Sample:
    calls = int(re.search(r"number of transactions actually processed: (\d+)", stdout)[1])
    per_second = float(re.search(r"tps = ([\d.]+)", stdout)[1])
    if not calls:
        raise DriverFailed("not one call finished")
    return Sample(calls * ops_per_call, calls / per_second, meter.cpu_seconds, meter.wal_bytes)
