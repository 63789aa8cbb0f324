"""The paths of operations in the OpenAPI document of a caller that may not use every verb."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from lro_gateway.access.policy import Verb

_VERB_OF: Final = {
    "List": Verb.LIST,
    "Get": Verb.GET,
    "Delete": Verb.DELETE,
    "Cancel": Verb.CANCEL,
    "Wait": Verb.WAIT,
    "Watch": Verb.WAIT,
}
"""The verb of a path by the beginning of its `operationId`."""
_WATCHED_LISTS: Final = frozenset({"WatchAllOperations", "WatchOperations"})


def _verb_of(operation_id: str) -> Verb:
    if operation_id in _WATCHED_LISTS:
        return Verb.LIST
    return next(verb for word, verb in _VERB_OF.items() if operation_id.startswith(word))


def allowed(paths: dict[str, Any], verbs: AbstractSet[Verb]) -> dict[str, Any]:
    """Return the paths without the operations of other verbs."""
    kept = {
        path: {m: each for m, each in item.items() if _verb_of(each["operationId"]) in verbs}
        for path, item in paths.items()
    }
    return {path: item for path, item in kept.items() if item}
