"""What a gateway would serve, and what stands in its way: found by asking its backends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.backends.health import Health, HealthReport
from lro_gateway.config.models import BackendConfig
from lro_gateway.gateway import Gateway
from lro_gateway.rest.method_routes import MethodRoutes
from lro_gateway.rest.transcoding import Route
from lro_gateway.service.catalog import Discovered, Offer

_CONFIRMED_BESIDES: Final = tuple(
    f"google.longrunning.Operations/{verb}Operation" for verb in ("Cancel", "Delete")
)
"""What `confirm` may name that is no method: verbs of the gateway's own that end operations."""


@dataclass(frozen=True, slots=True)
class BackendCheck:
    """A backend: whether it serves, and what its descriptors tell."""

    health: HealthReport
    services: tuple[str, ...]
    streaming: tuple[str, ...]
    offered: int


@dataclass(frozen=True, slots=True)
class MethodCheck:
    """A method that is offered, and its routes."""

    offer: Offer
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found: backends in the order of the configuration, methods by name.

    `problems` are whatever is not as its operator wants it, in words.
    """

    backends: tuple[BackendCheck, ...]
    methods: tuple[MethodCheck, ...]
    problems: tuple[str, ...]


async def check(gateway: Gateway) -> Check:
    """Ask the backends of an open gateway how they are and what they offer."""
    reports, discovered = await asyncio.gather(
        asyncio.gather(*(each.report() for each in gateway.health_checks)),
        gateway.service.catalog.discovered(),
    )
    methods = MethodRoutes(gateway.service)
    table = await methods.table()
    offers = methods.offers.values()
    return Check(
        tuple(_backend(report, discovered[report.backend], offers) for report in reports),
        tuple(_methods(offers, table.routes)),
        (
            *_unhealthy(reports),
            *_missing(discovered, offers),
            *(f"route {refusal}" for refusal in table.refusals),
            *_unmatched(gateway.config.backends, discovered),
        ),
    )


def _backend(report: HealthReport, found: Discovered, offers: Iterable[Offer]) -> BackendCheck:
    offered = sum(report.backend in offer.backends for offer in offers)
    return BackendCheck(report, found.services, tuple(sorted(found.streaming)), offered)


def _methods(offers: Iterable[Offer], routes: Iterable[Route]) -> Iterator[MethodCheck]:
    by_method: dict[str, list[Route]] = {}
    for route in routes:
        by_method.setdefault(route.method.full_name, []).append(route)
    for offer in offers:
        yield MethodCheck(offer, tuple(by_method.get(offer.method.full_name, ())))


def _unhealthy(reports: Iterable[HealthReport]) -> Iterator[str]:
    for report in reports:
        if report.health is Health.UNREACHABLE and report.message:
            yield report.message
        elif report.health is not Health.SERVING:
            yield f"backend {report.backend!r} is {report.health.value}: {report.message}"


def _missing(discovered: Mapping[str, Discovered], offers: Iterable[Offer]) -> Iterator[str]:
    """Yield which descriptors cannot be had: those of sources, and those that methods announce."""
    for name, found in discovered.items():
        for problem in found.problems:
            yield f"backend {name!r}: descriptors: {problem}"
    for offer in offers:
        method = offer.method
        for announced in dict.fromkeys((method.response_type, method.metadata_type)):
            if announced and offer.types.message_class(announced) is None:
                yield (
                    f"backend {offer.backends[0]!r}: descriptors: there is none of {announced},"
                    f" which {method.path} announces"
                )


def _unmatched(
    configured: Iterable[BackendConfig], discovered: Mapping[str, Discovered]
) -> Iterator[str]:
    """Yield the patterns that match no RPC, but of a backend whose RPCs may not all be known."""
    for config in configured:
        found = discovered[config.name]
        confirmed = (*found.rpcs, *_CONFIRMED_BESIDES)
        for key, patterns, rpcs in (
            ("methods", config.methods, found.rpcs),
            ("exclude_methods", config.exclude_methods, found.rpcs),
            ("confirm", config.confirm, confirmed),
            ("hints", config.hints, found.rpcs),
        ):
            for pattern in () if found.problems else patterns:
                if not any(fnmatchcase(rpc, pattern) for rpc in rpcs):
                    yield f'backend {config.name!r}: {key}: "{pattern}" matches no method'
