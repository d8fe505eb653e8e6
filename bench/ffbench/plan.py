"""How much is measured: the full benchmark and its three-minute form."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes of one benchmark run. Ratios need only be equal for all systems, so both forms share the code."""

    quick: bool
    rounds: int = 3
    seconds: float = 10
    backlog: int = 100_000
    connections: int = 16
    batch_connections: int = 8
    create_many_calls: int = 6      # per connection, 1 000 executions each
    worker_jobs: int = 10_000       # what a peer's own worker process drains in one run
    slow_jobs: int = 2_000          # the same for those that manage a few hundred per second
    small_backlog: int = 1_000
    large_backlog: int = 1_000_000
    held_seconds: float = 600
    drained_claims: int = 20_000
    history: int = 10_000_000
    wakes: int = 1_000
    tail_seconds: float = 60
    load: float = 0.7               # of peak, where a measure asks for steady load

    @property
    def batch_calls(self) -> int:
        """Calls per connection that take six tenths of the backlog, 50 at a time: a fast system must not run dry."""
        return self.backlog * 6 // 10 // (50 * self.batch_connections)


def full(**overrides) -> Plan:
    """The complete benchmark; overrides come from the command line."""
    return Plan(quick=False, **overrides)


def quick(**overrides) -> Plan:
    """R0, R1 and the engine only, short runs: a check while developing, at most three minutes."""
    return Plan(**{"quick": True, "seconds": 3, **overrides})
