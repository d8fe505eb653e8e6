"""The side-by-side rounds: every cell once per round, neighbours in time where they are compared."""

import sys
import time

from .cell import Cell
from .plan import Plan
from .results import Results
from .sample import paired_ratio

# Cells compared with each other stand together, so that they meet the same noise.
ORDER = ["update", "claim+complete", "fused", "insert", "create", "create 1000", "batch 50",
         "lifecycle", "lifecycle, no payload"]


def progress(text: str):
    """Progress goes to stderr; stdout carries the table alone."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def report_failure(results: Results, name: str, failure: Exception):
    """One measure that fails is named at once and in the table, and spoils no other."""
    results.failures[name] = (str(failure).strip() or repr(failure)).splitlines()[0]
    progress(f"{name}: FAILED: {results.failures[name]}")


def measure(results: Results, cell: Cell, label: str):
    """Runs one cell once. A failing cell is reported and left out, the others go on."""
    if cell.key in results.failures:
        return
    try:
        cell.prepare()
        sample = cell.run()
        cell.tidy()
    except Exception as failure:
        report_failure(results, cell.key, failure)
        return
    results.row(cell.system, cell.measure, cell.connections).samples.append(sample)
    progress(f"{label} {cell.key}: {sample.throughput:,.0f}/s, "
             f"{sample.cpu_us:,.0f} us CPU, {sample.wal_per_op:,.0f} B WAL per op")


def run(results: Results, plan: Plan, cells: list[Cell]):
    """All rounds, every second one backwards, so that a drift of the machine favours nobody."""
    ordered = sorted(cells, key=lambda cell: ORDER.index(cell.measure))
    for number in range(1, plan.rounds + 1):
        for cell in ordered if number % 2 else reversed(ordered):
            measure(results, cell, f"round {number}/{plan.rounds}")
    _ratios(results)


def _ratios(results: Results):
    """The ratios that two cells of the same rounds give; those whose cells are missing are left out."""
    _compare(results, "P1", "ff_engine claim+complete", "R1 claim+complete")
    _compare(results, "P2", "ff_engine claim+complete", "R0 update", figure="cpu_us", factor=1 / 2)
    _compare(results, "P3", "ff_engine fused", "R1 claim+complete")
    _compare(results, "P4", "ff_engine create", "R0 insert")
    _compare(results, "P5", "ff_engine batch 50", "pgmq batch 50")
    _compare(results, "P6", "ff_engine create 1000", "ff_engine create")
    bare = results.rows.get("ff_engine lifecycle, no payload")
    if bare:
        per_op = sorted(sample.wal_per_op for sample in bare.samples)
        results.note_ratio("P8", per_op[len(per_op) // 2] / 1024, bare)


def _compare(results: Results, name: str, upper: str, lower: str, figure: str = "throughput", factor: float = 1):
    if results.samples(upper) and results.samples(lower):
        value = paired_ratio(results.samples(upper), results.samples(lower), figure) * factor
        results.note_ratio(name, value, results.rows[upper])
