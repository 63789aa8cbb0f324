# mypy: ignore-errors
# This module runs in an environment of its own, which has schemathesis.
"""A check for schemathesis, which runs in an environment of its own."""

from __future__ import annotations

from typing import Any

import schemathesis

_DOMAIN = "lro-gateway"
_BEYOND_SCHEMAS = {
    # A name is free text, but the gateway finds its backend by it.
    *("INVALID_NAME", "UNROUTABLE_NAME", "BACKEND_MISMATCH", "UNKNOWN_PATH"),
    # Only the gateway makes tokens.
    "INVALID_PAGE_TOKEN",
    # The document describes a route that needs a store, and the gateways of the test have none.
    "NO_STORE",
}
"""The reasons with which the gateway may refuse a request that follows its document."""
_FREE_FIELDS = {"fields"}
"""The parameters with a grammar that no JSON Schema can state."""


@schemathesis.check
def own_refusals(_context: Any, response: Any, case: Any) -> None:
    """Fail if the gateway, and not the service, refuses a request that follows the document."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code != 400:
        return
    error = response.json()["error"]
    for detail in error.get("details", ()):
        if detail.get("domain") != _DOMAIN or detail["reason"] in _BEYOND_SCHEMAS:
            continue
        if detail.get("metadata", {}).get("field") in _FREE_FIELDS:
            continue
        raise AssertionError(f"the gateway refuses what its document allows: {error['message']}")
