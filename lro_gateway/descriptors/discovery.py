"""A look-up of all services of a backend, and the limits for what it adds to a set of types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lro_gateway.background import Steps
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.limits import DescriptorLimits
from lro_gateway.descriptors.type_set import TypeSet

Note = Callable[[str, str], None]
"""Records that a backend has more than a limit allows, and the setting of the limit."""


@dataclass(slots=True)
class Discovery:
    """A running look-up of services.

    `found` has the services that were found, and `methods` counts their unary methods. `added` has
    the files that were added. `offers_at` is the time from which callers may use what
    was found.
    """

    began: float
    offers_at: float
    found: dict[str, None] = field(default_factory=dict)
    methods: int = 0
    added: set[DescriptorFile] = field(default_factory=set)


def announced(types: TypeSet, services: Iterable[str]) -> Steps[dict[str, None]]:
    """Return the types that methods announce and the set lacks."""
    lacking: dict[str, None] = {}
    for service in services:
        for method in (yield from types.reading(service)).unary:
            yield
            for name in (method.response_type, method.metadata_type):
                if name and not types.has_message(name):
                    lacking[name] = None
    return lacking


def within(
    limits: DescriptorLimits, files: Iterable[DescriptorFile], types: TypeSet, note: Note
) -> Iterator[DescriptorFile]:
    """Yield the files for which a set has room after the files before them were added."""
    for file in files:
        if types.number_of_files >= limits.files and not types.has_file(file.name):
            note(f"more than {limits.files} files", "max_descriptor_files")
        elif types.size + len(file.content) > limits.size and not types.has_file(file.name):
            note(f"more than {limits.size} bytes of files", "max_descriptor_bytes")
        else:
            yield file
