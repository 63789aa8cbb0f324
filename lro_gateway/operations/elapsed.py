"""How long an operation has run, in words."""

from __future__ import annotations

from typing import Final

from lro_gateway.operations.operation import Operation
from lro_gateway.operations.stall import Stall

_SHORTEST: Final = 10
"""Seconds after its start from which the time of an operation is worth a word."""
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""The units of elapsed time, with their seconds."""


def running(operation: Operation) -> str:
    """Return `running for 2 min`, or `running` in the first 10 seconds.

    Without a start time in the metadata, the operation has run at least since the gateway first met
    it.
    """
    seconds = int(operation.age)
    if seconds < _SHORTEST:
        return "running"
    least = "" if operation.create_time else "at least "
    return f"running for {least}{span(seconds)}"


def span(seconds: float) -> str:
    """Return a time in its largest unit, such as `20 min`."""
    whole = int(seconds)
    size, unit = next((each for each in _UNITS if whole >= each[0]), _UNITS[-1])
    return f"{whole // size} {unit}"


def stalled(stall: Stall) -> str:
    """Return a sentence on how long an operation has not changed, and how long it should take."""
    takes = "usually takes" if stall.expected.learned else "should take"
    expected = span(stall.expected.seconds)
    return f"No change for {span(stall.unchanged)}; this method {takes} {expected}."
