"""Checks a configuration: asks the backends what a gateway would serve, and finds problems."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.health import Health, HealthReport
from lro_gateway.backends.router import Router
from lro_gateway.commands.gateway_options import cannot_listen
from lro_gateway.commands.probe import gateway_answers
from lro_gateway.config.exposed_files import exposed_files
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig, ServerConfig
from lro_gateway.config.plaintext import plaintext_secrets
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import NOWHERE, Location, StoreError, StoreFileError
from lro_gateway.records.opening import examine
from lro_gateway.rest.method_routes import MethodRoutes
from lro_gateway.rest.route_table import Route
from lro_gateway.service.catalog import Offer
from lro_gateway.service.described import describing
from lro_gateway.service.discovered import Discovered
from lro_gateway.service.nothing_offered import NO_SOURCES, with_cure
from lro_gateway.serving.http import bind
from lro_gateway.serving.tls import ServerTls

_CONFIRMED_VERBS: Final = tuple(
    f"google.longrunning.Operations/{verb}Operation" for verb in ("Cancel", "Delete")
)
"""The gateway's own verbs that change operations. Patterns of `confirm` may match them too."""


@dataclass(frozen=True, slots=True)
class BackendCheck:
    """The health of a backend, its services, and its RPCs that are not offered.

    `offered` is the number of its methods that the gateway offers. `description` is the operator's
    setting, and may be empty. `messages_only` are the sources of its descriptors without services.
    `has_token` is true if there is a token for its calls.
    """

    health: HealthReport
    services: tuple[str, ...]
    streaming: tuple[str, ...]
    plain: tuple[str, ...]
    offered: int
    description: str = ""
    messages_only: tuple[str, ...] = ()
    has_token: bool = False


@dataclass(frozen=True, slots=True)
class MethodCheck:
    """A method that the gateway offers, and its HTTP routes."""

    offer: Offer
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    The backends are in the order of the configuration, and the methods in the order of their names.

    Each of the `problems` is a sentence about something that the operator should correct. Each of
    the `warnings` is about something that the operator should look at.
    """

    backends: tuple[BackendCheck, ...]
    methods: tuple[MethodCheck, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    store: str = ""


async def check(gateway: Gateway, *, listens: bool, store: Location = NOWHERE) -> Check:
    """Ask the backends of an open gateway for their health and their methods.

    If the gateway `listens`, its address is checked too. The `store` is read and not changed.
    """
    state, unusable = await _examined(store)
    reports, issuers, discovered, tokens = await asyncio.gather(
        asyncio.gather(*(each.report() for each in gateway.health_checks)),
        _issuers(gateway.callers.keys),
        gateway.service.catalog.discovered(),
        _with_tokens(gateway.service.backends.values()),
    )
    methods = MethodRoutes(gateway.service)
    table = await methods.table()
    offers = methods.offers.values()
    tls_problems, tls_warnings = _tls(gateway.config.server) if listens else ((), ())
    return Check(
        tuple(
            replace(
                _backend(report, discovered[report.backend], offers, gateway.service.router),
                has_token=report.backend in tokens,
            )
            for report in reports
        ),
        tuple(_methods(offers, table.routes)),
        (
            *(await _unusable_address(gateway.config.server) if listens else ()),
            *tls_problems,
            *_unhealthy(reports),
            *_missing(discovered, offers, {r.backend for r in reports if _unreachable(r)}),
            *(f"route {refusal}" for refusal in methods.refusals),
            *_unmatched(gateway.config.backends, discovered),
            *unusable,
            *issuers,
        ),
        (*exposed_files(gateway.config), *plaintext_secrets(gateway.config), *tls_warnings),
        state,
    )


async def _issuers(keys: Sequence[KeyCache]) -> Sequence[str]:
    """Return a problem for each issuer whose keys the gateway cannot fetch."""
    await asyncio.gather(*(each.refresh() for each in keys))
    return [f"issuer {each.issuer}: {each.problem}" for each in keys if each.problem]


async def _with_tokens(backends: Iterable[Backend]) -> Collection[str]:
    """Return the names of the backends for whose calls there is a token.

    If there is none, the health check reports the reason.
    """
    found = []
    for backend in backends:
        if backend.shown is not None:
            with suppress(StatusError):
                await backend.shown.metadata(backend.endpoint.deadline.total_seconds())
                found.append(backend.name)
    return found


async def _examined(store: Location) -> tuple[str, Sequence[str]]:
    """Return where the store is and what it has, and the problem that makes it unusable."""
    if store.is_nowhere:
        return "", ()
    try:
        return f"{store}, {await examine(store)}", ()
    except StoreFileError as error:
        # Without a configured store, a gateway that cannot have the file serves all the same.
        return (f"none: {error}", ()) if store.is_default else (str(store), (f"store: {error}",))
    except StoreError as error:
        return str(store), (f"store: {error}",)


async def _unusable_address(server: ServerConfig) -> Sequence[str]:
    """Return a problem if `serve` could not listen at the address.

    An address that a gateway uses is no problem, because a check often precedes its restart.
    """
    try:
        bind(server).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and await gateway_answers(server):
            return ()
        return (cannot_listen(server.address, error),)
    return ()


def _tls(server: ServerConfig) -> tuple[Sequence[str], Sequence[str]]:
    """Return the problems and the warnings about the files of TLS."""
    if server.tls is None:
        return (), ()
    try:
        warning = ServerTls(server.tls).warning()
    except ConfigError as error:
        return error.mistakes, ()
    return (), (warning,) if warning else ()


def _backend(
    report: HealthReport, found: Discovered, offers: Iterable[Offer], router: Router
) -> BackendCheck:
    offered = sum(report.backend in offer.backends for offer in offers)
    description = router.descriptions.get(report.backend, "")
    streaming = tuple(sorted(found.streaming))
    # If reflection has no services, the reason why nothing is offered says so.
    only = tuple(source for source in found.messages_only if source != "reflection")
    rpcs = (streaming, tuple(sorted(found.plain)))
    return BackendCheck(report, found.services, *rpcs, offered, description, only)


def _methods(offers: Iterable[Offer], routes: Iterable[Route]) -> Iterator[MethodCheck]:
    by_method: dict[str, list[Route]] = {}
    for route in routes:
        by_method.setdefault(route.method.full_name, []).append(route)
    for offer in offers:
        yield MethodCheck(offer, tuple(by_method.get(offer.method.full_name, ())))


def _unhealthy(reports: Iterable[HealthReport]) -> Iterator[str]:
    for report in reports:
        if _unreachable(report) and report.message:
            yield report.message
        elif report.health is not Health.SERVING:
            yield f"backend {report.backend!r} is {report.health.value}: {report.message}"


def _unreachable(report: HealthReport) -> bool:
    return report.health is Health.UNREACHABLE


def _missing(
    discovered: Mapping[str, Discovered], offers: Iterable[Offer], unreachable: Collection[str]
) -> Iterator[str]:
    """Yield a problem for each source that failed, and for each unknown type of a method."""
    for name, found in discovered.items():
        for problem in found.problems:
            if name in unreachable and problem.startswith("reflection "):
                continue  # `_unhealthy` reports the failed connection with its cure.
            yield f"backend {name!r}: descriptors: {with_cure(problem, found.nothing_offered)}"
        if found.nothing_offered not in {"", NO_SOURCES} and not found.problems:
            yield f"backend {name!r}: no methods are offered: {found.nothing_offered}"
    for offer in offers:
        backend, method = describing([*offer.declared.items()])
        for announced in dict.fromkeys((method.response_type, method.metadata_type)):
            if announced and offer.types.message_class(announced) is None:
                yield (
                    f"backend {backend!r}: descriptors: no source has {announced},"
                    f" which {method.path} announces"
                )


def _unmatched(
    configured: Iterable[BackendConfig], discovered: Mapping[str, Discovered]
) -> Iterator[str]:
    """Yield a problem for each pattern that matches no RPC.

    The patterns of a backend are skipped if some of its RPCs may be unknown.
    """
    for config in configured:
        found = discovered[config.name]
        confirmed = (*found.rpcs, *_CONFIRMED_VERBS)
        for key, patterns, rpcs in (
            ("methods", config.methods, found.rpcs),
            ("exclude_methods", config.exclude_methods, found.rpcs),
            ("confirm", config.confirm, confirmed),
            ("approval", config.approval, found.rpcs),
            ("hints", config.hints, found.rpcs),
            ("request_ids", config.request_ids, found.rpcs),
            ("journal_requests", config.journal_requests, found.rpcs),
        ):
            for pattern in () if found.problems else patterns:
                if not any(fnmatchcase(rpc, pattern) for rpc in rpcs):
                    yield f'backend {config.name!r}: {key}: "{pattern}" matches no method'
