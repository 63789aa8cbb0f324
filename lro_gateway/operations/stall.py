"""An operation that has not changed for longer than its method usually takes."""

from __future__ import annotations

from dataclasses import dataclass

from lro_gateway.errors import JSON


@dataclass(frozen=True, slots=True)
class Expected:
    """How long operations of a method take, in seconds.

    It is `learned` if it comes from the operations that have succeeded so far, and not from the
    configuration.
    """

    seconds: float
    learned: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """How long a running operation has not changed, in seconds, and how long it was to take."""

    unchanged: float
    expected: Expected

    def to_json(self) -> JSON:
        """Return both times as ProtoJSON."""
        times = {"unchangedFor": self.unchanged, "expectedTime": self.expected.seconds}
        return {name: f"{seconds:.0f}s" for name, seconds in times.items()}
