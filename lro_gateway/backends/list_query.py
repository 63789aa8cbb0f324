"""A request of the gateway to list operations of a backend."""

from __future__ import annotations

from dataclasses import dataclass

from lro_gateway.operations.names import BackendName


@dataclass(frozen=True, slots=True)
class ListRules:
    """How the gateway calls ListOperations of a backend.

    `collection` is true if the backend takes the collection (`projects/p/operations`) as `name`,
    instead of the parent (`projects/p`). `default_parent` replaces an empty name. `max_page_size`
    is the largest page size that the backend accepts, in operations.
    """

    collection: bool = False
    default_parent: str = ""
    max_page_size: int = 1000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A ListOperations request with names in the backend's form.

    `parent` may be a parent or a collection. `page_token` is the backend's own.
    """

    parent: BackendName
    filter: str = ""
    page_size: int = 0
    page_token: str = ""
    return_partial_success: bool = False
