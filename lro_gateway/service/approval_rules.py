"""The rules for approvals of calls on one backend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

LIFETIME: Final = timedelta(hours=24)
"""How long a call waits for its approval, unless the configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """The rules for approvals of calls on one backend.

    A call that is not approved and started within `lifetime` has expired. With `own`, the caller
    that asked may approve too. With `within_tenant`, a call does not exist for other tenants than
    that of the caller that asked, whatever the policy lets them approve.
    """

    lifetime: timedelta = LIFETIME
    own: bool = False
    within_tenant: bool = False
