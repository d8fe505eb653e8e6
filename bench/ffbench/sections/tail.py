"""P17: the slowest claims at 70 % of peak load.

A pgbench call of this load is either a claim or a completion, in turns, so that the log shows claims alone.
"""

import os
from pathlib import Path

from .. import pgbench
from ..latency import log_options, logged_calls, percentile
from ..plan import Plan
from ..results import Results
from ..rounds import progress
from ..server import Server
from ..systems import engine

DATABASE = "ffbench_tail"


def run(server: Server, plan: Plan, results: Results):
    """Finds the peak on the same backlog first, then offers a steady share of it."""
    engine.install(server, plan, DATABASE)
    probe = engine.BATCH * 20
    engine.fill(server, DATABASE, engine.LANE, 2 * probe)
    peak = engine.pairs(server, plan, DATABASE, calls=probe // plan.connections).throughput
    rate = plan.load * peak
    engine.fill(server, DATABASE, engine.LANE, round(rate * plan.tail_seconds * 1.2) + probe)
    progress(f"claims at {rate:,.0f} pairs/s, peak {peak:,.0f}/s, for {plan.tail_seconds:.0f} s")
    logs = Path(os.environ["FFBENCH_TARGET"]) / "log"
    sample = pgbench.run(server, DATABASE, "engine_claim_then_complete.sql", plan.connections,
                         seconds=plan.tail_seconds, variables={"lane": engine.LANE, "held": 0, "handle": "none"},
                         extra=[f"--rate={2 * rate:.0f}", *log_options(logs)])
    claims = [call for calls in logged_calls(logs).values() for call in calls[::2]]
    took = [milliseconds for milliseconds, _ in claims]
    late = [lag for _, lag in claims]
    row = results.row("ff_engine", "claim or complete at 70 % of peak", plan.connections)
    row.samples.append(sample)
    row.note = f"claim p50 {percentile(took, 50):.2f} ms; behind schedule p99 {percentile(late, 99):.2f} ms"
    results.note_ratio("P17", percentile(took, 99), row)
    server.drop_database(DATABASE)
