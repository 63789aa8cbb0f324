"""What a run has seen: counts, the longest times, and the invariants that did not hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_SHOWN: Final = 4
"""The number of violations of one invariant that a report has."""


@dataclass
class Findings:
    """The results of a run.

    `counts` are numbers of events, `longest` are seconds, and `violations` are texts by invariant.
    """

    counts: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)

    def time(self, what: str, seconds: float) -> None:
        """Keep the longest time of an action."""
        self.counts[what] += 1
        self.longest[what] = max(self.longest.get(what, 0.0), seconds)

    def violate(self, invariant: str, text: str) -> None:
        """Note that an invariant did not hold."""
        self.violations.setdefault(invariant, []).append(text)

    def lines(self) -> list[str]:
        """Return the report."""
        lines = [
            f"  {what}: {number}"
            + (f", longest {self.longest[what]:.2f} s" if what in self.longest else "")
            for what, number in sorted(self.counts.items())
        ]
        for invariant, texts in self.violations.items():
            lines.append(f"VIOLATED: {invariant} ({len(texts)} times)")
            lines.extend(f"  {text}" for text in texts[:_SHOWN])
        return lines
