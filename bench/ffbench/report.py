"""The one table that a run ends with."""

from .results import Results, Row
from .sample import median_cpu_us, median_throughput, median_wal
from .targets import TARGETS

HEADER = ["system", "measure", "conns", "ops/s", "CPU us/op", "WAL B/op", "ratios"]


def table(results: Results) -> str:
    """Text in columns; each ratio stands beside the line it judges, with what it must reach."""
    lines = [_line(row, results) for row in results.rows.values()]
    widths = [max(len(line[i]) for line in [HEADER, *lines]) for i in range(len(HEADER))]
    text = [_pad(HEADER, widths), "  ".join("-" * width for width in widths)]
    text += [_pad(line, widths) for line in lines]
    text += [f"not installed: {name}: {reason}" for name, reason in results.left_out.items()]
    text += [f"FAILED: {name}: {reason}" for name, reason in results.failures.items()]
    return "\n".join(text)


def _line(row: Row, results: Results) -> list[str]:
    figures = ["", "", ""]
    if row.samples:
        figures = [f"{median_throughput(row.samples):,.0f}", f"{median_cpu_us(row.samples):,.0f}",
                   f"{median_wal(row.samples):,.0f}"]
    verdicts = [f"{name} {TARGETS[name].verdict(results.ratios[name])}" for name in row.ratios]
    return [row.system, row.measure, str(row.connections), *figures, "; ".join(filter(None, [*verdicts, row.note]))]


def _pad(fields: list[str], widths: list[int]) -> str:
    numeric = {2, 3, 4, 5}
    return "  ".join(field.rjust(width) if i in numeric else field.ljust(width)
                     for i, (field, width) in enumerate(zip(fields, widths))).rstrip()
