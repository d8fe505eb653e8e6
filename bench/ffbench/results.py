"""Everything measured so far, and its machine-readable form."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from .sample import Sample, as_json, median_cpu_us, median_throughput, median_wal


@dataclass
class Row:
    """One line of the table: a cell with its samples, or a latency that has none."""

    system: str
    measure: str
    connections: int
    samples: list[Sample] = field(default_factory=list)
    note: str = ""
    ratios: list[str] = field(default_factory=list)     # names of the ratios shown beside this line


@dataclass
class Results:
    environment: dict
    rows: dict[str, Row] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)      # measures that should have worked
    left_out: dict[str, str] = field(default_factory=dict)      # peers that do not install here

    def row(self, system: str, measure: str, connections: int) -> Row:
        """The line of a cell, made when first asked for."""
        return self.rows.setdefault(f"{system} {measure}", Row(system, measure, connections))

    def samples(self, key: str) -> list[Sample]:
        """The samples of a cell, or none if it was not measured."""
        return self.rows[key].samples if key in self.rows else []

    def note_ratio(self, name: str, value: float, row: Row):
        """Records a ratio and the line it belongs to."""
        self.ratios[name] = round(value, 4)
        if name not in row.ratios:
            row.ratios.append(name)

    def write(self, path: Path):
        """Written after every section, so that a long run cut short leaves what it had."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._document(), indent=2) + "\n")

    def _document(self) -> dict:
        return {
            "environment": self.environment,
            "ratios": self.ratios,
            "figures": {key: _figures(row) for key, row in self.rows.items()},
            "failures": self.failures,
            "left_out": self.left_out,
        }


def _figures(row: Row) -> dict:
    figures = {"connections": row.connections}
    if row.note:
        figures["note"] = row.note
    if row.samples:
        figures |= {
            "ops_per_second": round(median_throughput(row.samples), 1),
            "cpu_us_per_op": round(median_cpu_us(row.samples), 2),
            "wal_bytes_per_op": round(median_wal(row.samples), 1),
            "rounds": [as_json(sample) for sample in row.samples],
        }
    return figures
