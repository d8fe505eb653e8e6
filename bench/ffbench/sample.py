"""What one run yields, and the median of several."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One run of one cell. Seconds are the driver's own, without its connection time."""

    ops: int
    seconds: float
    cpu_seconds: float
    wal_bytes: int

    @property
    def throughput(self) -> float:
        return self.ops / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.ops * 1e6

    @property
    def wal_per_op(self) -> float:
        return self.wal_bytes / self.ops


def median_throughput(samples: list[Sample]) -> float:
    return median(s.throughput for s in samples)


def median_cpu_us(samples: list[Sample]) -> float:
    return median(s.cpu_us for s in samples)


def median_wal(samples: list[Sample]) -> float:
    return median(s.wal_per_op for s in samples)


def paired_ratio(upper: list[Sample], lower: list[Sample], figure: str = "throughput") -> float:
    """Median over rounds of the ratio within a round: neighbours in time meet the same noise."""
    return median(getattr(u, figure) / getattr(l, figure) for u, l in zip(upper, lower))


def as_json(sample: Sample) -> dict:
    return {
        "ops": sample.ops,
        "seconds": round(sample.seconds, 3),
        "ops_per_second": round(sample.throughput, 1),
        "cpu_us_per_op": round(sample.cpu_us, 2),
        "wal_bytes_per_op": round(sample.wal_per_op, 1),
    }
