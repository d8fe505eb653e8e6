"""Percentiles, and the per-call log that pgbench writes."""

from pathlib import Path


def percentile(values: list[float], rank: int) -> float:
    """The smallest value that `rank` per cent of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * rank // 100) - 1)]


def log_options(folder: Path) -> list[str]:
    """Lets pgbench log every call into files of their own in an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("calls.*"):
        old.unlink()
    return ["--log", f"--log-prefix={folder / 'calls'}"]


def logged_calls(folder: Path) -> dict[int, list[tuple[float, float]]]:
    """Per client its calls in order: milliseconds the call took, and milliseconds it started behind schedule."""
    calls: dict[int, list[tuple[int, float, float]]] = {}
    for log in folder.glob("calls.*"):
        for line in log.read_text().splitlines():
            client, number, elapsed, _, _, _, lag = map(int, line.split())
            calls.setdefault(client, []).append((number, (elapsed - lag) / 1000, lag / 1000))
    return {client: [call[1:] for call in sorted(own)] for client, own in calls.items()}
