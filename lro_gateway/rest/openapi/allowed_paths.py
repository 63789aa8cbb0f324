"""The paths of operations in the OpenAPI document of a caller that may not use every verb."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from lro_gateway.access.policy import Verb

EVERY_VERB: Final = frozenset(Verb) - {Verb.EXPLAIN}
"""The verbs that a caller may use without rules. There is then nothing to explain."""
_VERB_OF: Final = {
    "List": Verb.LIST,
    "Get": Verb.GET,
    "Delete": Verb.DELETE,
    "Cancel": Verb.CANCEL,
    "Wait": Verb.WAIT,
    "Watch": Verb.WAIT,
    "Approve": Verb.APPROVE,
    "Refuse": Verb.APPROVE,
    "Explain": Verb.EXPLAIN,
}
"""The verb of a path by the beginning of its `operationId`."""
_OF_ALL: Final = "ListApprovals"
"""The `operationId` of the path that every caller may use. Each may have asked for a call."""
_WATCHED_LISTS: Final = frozenset({"WatchAllOperations", "WatchOperations"})


def _verb_of(operation_id: str) -> Verb | None:
    """Return the verb that a route needs, or None for a page of the gateway itself."""
    if operation_id in _WATCHED_LISTS:
        return Verb.LIST
    if operation_id == _OF_ALL:
        return None
    return next((v for word, v in _VERB_OF.items() if operation_id.startswith(word)), None)


def allowed(paths: dict[str, Any], verbs: AbstractSet[Verb]) -> dict[str, Any]:
    """Return the paths without the operations of other verbs."""
    kept = {
        path: {m: e for m, e in item.items() if _verb_of(e["operationId"]) in {None, *verbs}}
        for path, item in paths.items()
    }
    return {path: item for path, item in kept.items() if item}
