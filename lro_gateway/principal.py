"""The identity of a caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity of a caller.

    `subject` is unique within `issuer`. `tenant` is the organization that the caller acts for. All
    three are empty if the caller is not identified.
    """

    subject: str = ""
    issuer: str = ""
    tenant: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """The issuer, subject and tenant, for use in keys and in sealed tokens.

        They are separate, because a joined text could be the same for two different principals.
        """
        return (self.issuer, self.subject, self.tenant)

    def __str__(self) -> str:
        """Return a text for logs. Two different principals may have the same text."""
        if not any(self.identity):
            return "anonymous"
        return f"{self.issuer}#{self.subject}" + (f"@{self.tenant}" if self.tenant else "")


ANONYMOUS: Final = Principal()
"""The principal of a caller that is not identified."""
