"""Runs the benchmark against the server that the libpq environment names. Started by scripts/bench.sh."""

import argparse
import os
import sys
import time
from pathlib import Path

from . import plan as plans
from . import report, rounds
from .results import Results
from .rounds import progress, report_failure
from .sections import backlog, history, signal, snapshot, tail, wake
from .server import Server
from .systems import awa, engine, floor, graphile, handwritten, pgboss, pgmq, procrastinate
from .unavailable import Unavailable

OWN = {"R0": floor, "R1": handwritten, "ff_engine": engine}
PEERS = {"pgmq": pgmq, "graphile-worker": graphile, "procrastinate": procrastinate, "pg-boss": pgboss, "awa": awa}
SECTIONS = {"snapshot": snapshot, "wake": wake, "signal": signal, "tail": tail, "backlog": backlog, "history": history}
IN_QUICK = {"snapshot"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("form", nargs="?", choices=["full", "quick"], default="full")
    parser.add_argument("--only", help="comma-separated parts: rounds, " + ", ".join(SECTIONS))
    parser.add_argument("--no-peers", action="store_true", help="R0, R1 and ff_engine only")
    for name, kind in (("rounds", int), ("seconds", float), ("backlog", int), ("large-backlog", int),
                       ("history", int), ("held-seconds", float), ("tail-seconds", float), ("wakes", int)):
        parser.add_argument(f"--{name}", type=kind)
    return parser.parse_args()


def chosen_plan(given: argparse.Namespace) -> plans.Plan:
    """The form's sizes with those from the command line in their place."""
    names = ("rounds", "seconds", "backlog", "large_backlog", "history", "held_seconds", "tail_seconds", "wakes")
    overrides = {name: value for name in names if (value := getattr(given, name)) is not None}
    return (plans.quick if given.form == "quick" else plans.full)(**overrides)


def environment(server: Server, plan: plans.Plan) -> dict:
    """What a reader needs to judge the figures."""
    shown = ("server_version", "shared_buffers", "max_wal_size", "checkpoint_timeout", "autovacuum",
             "synchronous_commit", "fsync", "shared_preload_libraries")
    return {
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "settings": {name: server.setting(name) for name in shown},
        "plan": vars(plan),
    }


def installed_cells(server: Server, plan: plans.Plan, results: Results, with_peers: bool) -> list:
    """Installs each system in its database. A peer may be missing; the others may not."""
    cells = []
    for name, system in {**OWN, **(PEERS if with_peers else {})}.items():
        progress(f"installing {name}")
        try:
            system.install(server, plan)
            cells += system.cells(server, plan)
        except Unavailable as reason:
            results.left_out[name] = str(reason)
        except Exception as failure:
            report_failure(results, name, failure)
    return cells


def main() -> int:
    given = arguments()
    plan = chosen_plan(given)
    parts = given.only.split(",") if given.only else ["rounds", *(IN_QUICK if plan.quick else SECTIONS)]
    server = Server()
    results = Results(environment(server, plan))
    target = Path(os.environ["FFBENCH_TARGET"]) / "latest.json"
    server.drop_leftovers()
    if "rounds" in parts:
        rounds.run(results, plan, installed_cells(server, plan, results, not (plan.quick or given.no_peers)))
        results.write(target)
    for name in (part for part in SECTIONS if part in parts):
        try:
            SECTIONS[name].run(server, plan, results)
        except Exception as failure:
            report_failure(results, name, failure)
        results.write(target)
    results.environment["load_after"] = round(os.getloadavg()[0], 2)
    results.write(target)
    print(report.table(results))
    progress(f"the figures of every round are in {target}")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
