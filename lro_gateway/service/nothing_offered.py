"""The likely reason why a backend offers no methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lro_gateway.descriptors.descriptor_file import PROTOC
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.reflection import NOT_SERVED
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.service.offer_rules import OfferRules

NO_SOURCES: Final = "the setting descriptors is empty"
_CURE: Final = (
    f"add a FileDescriptorSet of its services to the setting descriptors; make one with {PROTOC}"
)
_NOT_NEEDED: Final = (
    f'{NOT_SERVED}; remove "reflection" from the setting descriptors if the other sources suffice,'
    " or serve reflection"
)


def reason(registry: TypeRegistry, methods: Sequence[Method], rules: OfferRules) -> str:
    """Return why none of these methods, which are all methods of a backend, is offered."""
    if not registry.labels:
        return NO_SOURCES
    if not registry.services:
        return _without_services(registry)
    if not methods:
        return _without_methods(registry)
    if all(rules.excludes(method.path) for method in methods):
        return "the setting exclude_methods matches all its RPCs"
    if any(method.is_long_running for method in methods):
        return "the setting exclude_methods matches all its RPCs that return an Operation"
    return (
        "none of its RPCs returns google.longrunning.Operation; list plain RPCs in the setting"
        f' methods, for example methods = ["{methods[0].service}/*"]'
    )


def with_cure(problem: str, nothing_offered: str) -> str:
    """Return a problem of a backend's descriptors, and what to do about it where that is known.

    `nothing_offered` is the reason why the backend offers no methods, or an empty text.
    """
    if nothing_offered.startswith(problem):
        return nothing_offered
    return _NOT_NEEDED if problem == NOT_SERVED else problem


def _without_services(registry: TypeRegistry) -> str:
    if registry.problems:
        # A backend that is down may have reflection, so no file is missing.
        return registry.problems[0] + ("" if registry.is_unreached else f"; {_CURE}")
    sources = ", ".join(registry.labels)
    return (
        f"{sources} has no service except google.longrunning.Operations and those of gRPC; {_CURE}"
    )


def _without_methods(registry: TypeRegistry) -> str:
    types, services = registry.types, registry.services
    if any(types.streaming_methods_of(service) for service in services):
        return "all its RPCs are streaming, and the gateway offers no streaming RPCs"
    if types.problems:
        return f"its RPCs cannot be read: {types.problems[0]}"
    return f"its services have no RPCs: {', '.join(services[:3])}"
