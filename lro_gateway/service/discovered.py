"""What the descriptors of a backend have, for its operator: in `check`, and in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lro_gateway.background import Slices, Steps
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.service import nothing_offered
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.telemetry import metrics

logger: Final = logging.getLogger(__name__)

Outcome = tuple[int, str]
"""How many methods of a backend are offered, and why there are none, or an empty text."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """The services of a backend and their RPCs, read from its descriptors.

    An RPC is written `pkg.Service/Method`. `streaming` lists the streaming RPCs that `exclude` does
    not match; the gateway cannot offer them. `plain` lists the RPCs that start no operation and
    that the setting methods would offer. Each of the `problems` is a reason why services or
    RPCs may be missing here. If the gateway offers no RPC of the backend, `nothing_offered` is the
    likely reason, and otherwise it is empty. `messages_only` are the sources of descriptors that
    have no services.
    """

    services: tuple[str, ...]
    rpcs: tuple[str, ...]
    streaming: tuple[str, ...]
    plain: tuple[str, ...]
    problems: tuple[str, ...]
    nothing_offered: str
    messages_only: tuple[str, ...]


async def discovered(
    registry: TypeRegistry,
    rules: OfferRules,
    slices: Slices,
    *,
    is_slow: bool,
    differing: Sequence[str],
) -> Discovered:
    """Return what a backend has. `is_slow` is true while its first discovery is running.

    `differing` tells what differs between the declarations of one method on several backends.
    """
    services, types = registry.services, registry.types
    methods = await slices.run(registry.reading())
    streams = [each for service in services for each in types.streaming_methods_of(service)]
    failure = "no source could be read; the log has the reason"
    if is_slow:
        wait = registry.limits.wait
        failure = f"not all methods are known after {wait:g} s; raise discovery_wait"
    unread = () if registry.was_discovered else (failure,)
    excludes = rules.excludes
    return Discovered(
        services,
        (*(method.path for method in methods), *map(_path, streams)),
        tuple(path for each in streams if not excludes(path := _path(each))),
        tuple(e.path for e in methods if not (rules.offers(e) or excludes(e.path))),
        (*registry.problems, *unread, *types.problems, *differing),
        (await outcome(registry, rules, slices))[1],
        registry.without_services,
    )


async def outcome(registry: TypeRegistry, rules: OfferRules, slices: Slices) -> Outcome:
    """Return how many methods of a backend are offered, and why there are none."""
    methods = await slices.run(registry.reading())
    number = await slices.run(_count(methods, rules))
    return number, "" if number else nothing_offered.reason(registry, methods, rules)


class OutcomeLog:
    """Tells in the log and in the metrics what each backend offers."""

    def __init__(self) -> None:
        self._logged: dict[str, Outcome] = {}

    def note(self, name: str, found: Outcome) -> None:
        """Log how many methods a backend offers, when this is known first or has changed."""
        if self._logged.get(name) == found:
            return
        self._logged[name] = found
        number, why = found
        metrics.METHODS.set(number, name)
        if number:
            noun = "method is" if number == 1 else "methods are"
            logger.info("backend %s: %d %s offered", name, number, noun)
        else:
            level = logging.INFO if why == nothing_offered.NO_SOURCES else logging.WARNING
            logger.log(level, "backend %s: no methods are offered: %s", name, why)


def _count(methods: Iterable[Method], rules: OfferRules) -> Steps[int]:
    """Return how many of the methods the rules offer."""
    number = 0
    for method in methods:
        yield
        number += rules.offers(method)
    return number


def _path(full_name: str) -> str:
    service, _, name = full_name.rpartition(".")
    return f"{service}/{name}"
