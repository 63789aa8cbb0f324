"""How much a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`seconds` is how long each contender is measured in each round.

    `watched` are numbers of operations that are followed at once, looked at every so many seconds
    and measured for so many.
    """

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16, 64)
    starts: int = 5
    memory_requests: int = 1_000
    listings: int = 3
    readers: int = 1_000
    changes: int = 50
    watched: tuple[int, ...] = (1_000, 10_000)
    watched_every: float = 30.0
    watched_for: float = 10.0


QUICK = Settings(
    rounds=1,
    seconds=0.2,
    connections=(1, 4),
    starts=1,
    memory_requests=100,
    listings=1,
    readers=50,
    changes=5,
    watched=(100, 1_000),
    watched_every=3.0,
    watched_for=2.0,
)
"""A smoke run; its figures mean little."""
