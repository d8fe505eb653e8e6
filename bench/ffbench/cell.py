"""A cell is one system doing one measure; cells of one measure run next to each other in time."""

from dataclasses import dataclass
from typing import Callable

from .sample import Sample


def nothing():
    """The default for a cell that needs no preparation or no tidying."""


@dataclass(frozen=True)
class Cell:
    system: str
    measure: str
    connections: int
    run: Callable[[], Sample]
    prepare: Callable[[], None] = nothing
    tidy: Callable[[], None] = nothing

    @property
    def key(self) -> str:
        return f"{self.system} {self.measure}"
