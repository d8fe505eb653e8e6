"""The targets of the performance chapter: what each ratio must reach and what it aims at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    meaning: str
    must: float
    aim: float
    higher_is_better: bool = True
    unit: str = ""

    def reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.higher_is_better else value <= bound

    def verdict(self, value: float) -> str:
        """For the table: the value, its bound, and how it stands to bound and aim."""
        sign = ">=" if self.higher_is_better else "<="
        state = "met" if self.reaches(value, self.must) else "MISSED"
        if self.reaches(value, self.aim):
            state = "aim reached"
        return f"{value:.2f}{self.unit} ({sign} {self.must:g}: {state})"


TARGETS = {
    "P1": Target("claim+complete, throughput / R1", 0.7, 1.0),
    "P2": Target("claim+complete, CPU / (2 x R0)", 3.0, 2.0, higher_is_better=False),
    "P3": Target("fused, throughput / R1 claim+complete", 1.3, 1.8),
    "P4": Target("create, throughput / one-row INSERT", 0.6, 0.85),
    "P5": Target("batch 50, executions / pgmq batch 50", 1.0, 1.5),
    "P6": Target("create 1000 per call / single create", 10, 20),
    "P8": Target("WAL per lifecycle without payload", 2.0, 1.2, higher_is_better=False, unit=" KiB"),
    "P9": Target("decay, 1 M backlog against 1 k", 0.85, 0.95),
    "P10": Target("decay under a held snapshot", 0.8, 0.95),
    "P11": Target("decay with a long history", 0.85, 0.95),
    "P12": Target("wake latency, p50", 2.0, 0.5, higher_is_better=False, unit=" ms"),
    "P12_p99": Target("wake latency, p99", 10, 3, higher_is_better=False, unit=" ms"),
    "P13": Target("suspend, signal, claimed again, p50", 5.0, 1.5, higher_is_better=False, unit=" ms"),
    "P13_p99": Target("suspend, signal, claimed again, p99", 25, 8, higher_is_better=False, unit=" ms"),
    "P13_cpu": Target("suspend+signal+claim, CPU / claim+complete", 3.0, 2.5, higher_is_better=False),
    "P17": Target("single claim at 70 % of peak, p99", 10, 4, higher_is_better=False, unit=" ms"),
}
