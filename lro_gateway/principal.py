"""The identity of a caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: `subject` is unique within `issuer`, and `tenant` is the organization it acts for.

    All three are empty for a caller that is not identified.
    """

    subject: str = ""
    issuer: str = ""
    tenant: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Issuer, subject and tenant as separate parts, for keys and for sealed tokens.

        No two principals have the same parts. A single string could spell two of them alike.
        """
        return (self.issuer, self.subject, self.tenant)

    def __str__(self) -> str:
        """Return a text for logs, which two principals may share."""
        if not any(self.identity):
            return "anonymous"
        return f"{self.issuer}#{self.subject}" + (f"@{self.tenant}" if self.tenant else "")


ANONYMOUS: Final = Principal()
"""A caller that is not identified."""
