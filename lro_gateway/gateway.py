"""Assembles a gateway: only this module constructs the objects and connects them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from lro_gateway.access.audit import Audit, AuditedPolicy
from lro_gateway.access.audit_sinks import NONE, open_sink
from lro_gateway.access.authentication import Authenticator
from lro_gateway.access.policy import AllowAll, Policy
from lro_gateway.access.rule_policy import RulePolicy
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Channel, Endpoint, open_channel
from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.backends.health import Health, HealthCheck
from lro_gateway.backends.list_query import ListRules
from lro_gateway.backends.router import Router
from lro_gateway.backends.tls_channel import TlsChannel
from lro_gateway.background import BackgroundTasks, Slices
from lro_gateway.config.backend_credentials import open_credentials
from lro_gateway.config.callers import Callers, open_callers, passing
from lro_gateway.config.endpoints import call_metadata, endpoint_of
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig, GatewayConfig
from lro_gateway.config.policy import rules_of
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.limits import DescriptorLimits
from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.source_list import FAILED_FOR
from lro_gateway.descriptors.sources import DescriptorSource, FileSource, ModuleSource, SourceError
from lro_gateway.operations.watch_rules import Cadence, WatchRules
from lro_gateway.records.entries import Journal
from lro_gateway.records.location import Location, StoreError
from lro_gateway.records.opening import open_store
from lro_gateway.sealing import Sealer
from lro_gateway.service.budget import Budgets
from lro_gateway.service.catalog import RESERVED_NAMES, Catalog
from lro_gateway.service.journaling import Journaling
from lro_gateway.service.list_watch import ListWatches
from lro_gateway.service.listing import Listing
from lro_gateway.service.memory import sweep
from lro_gateway.service.mine import Mine
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.rates import Rates
from lro_gateway.service.reads import Reads
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import Shutdown
from lro_gateway.service.starting import Starts
from lro_gateway.service.views import Views
from lro_gateway.service.waiting import Waits
from lro_gateway.service.watch import Watches
from lro_gateway.service.watch_bounds import WatchBounds

logger: Final = logging.getLogger(__name__)

_REFLECTION_DEADLINE: Final = timedelta(seconds=5)
_HEALTH_DEADLINE: Final = timedelta(seconds=2)
CALLS_GRACE: Final = timedelta(seconds=10)
"""The time that running calls of backends have to end at shutdown.

The callers have already got the error that the gateway is shutting down.
"""
_EPHEMERAL: Final = (
    "server.keys has no key, which suffices for a trial: task ids and page tokens are valid only"
    " until this process ends, and other replicas reject them"
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The objects that serve requests; they stay open until the context of `open` ends.

    `shared_directory` is what the workers of one address share. It is None if there is one process.
    """

    config: GatewayConfig
    service: OperationService
    sealer: Sealer
    callers: Callers
    health_checks: tuple[HealthCheck, ...]
    shared_directory: Path | None = None

    @property
    def authenticator(self) -> Authenticator:
        """What identifies the caller of a request."""
        return self.callers.authenticator

    @staticmethod
    @asynccontextmanager
    async def open(
        config: GatewayConfig,
        *,
        policy: Policy | None = None,
        authenticator: Authenticator | None = None,
        shared_directory: Path | None = None,
    ) -> AsyncIterator[Gateway]:
        """Connect to the configured backends; raise `ConfigError` if their settings cannot work.

        The log reports a backend that is down. The gateway serves this backend once it is up.
        """
        router = _router(config.backends)
        sealer = Sealer(*(key.get_secret_value() for key in config.server.keys))
        if sealer.is_ephemeral:
            logger.warning(_EPHEMERAL)
        slices = Slices()
        async with AsyncExitStack() as stack:
            journal = await _opened_journal(config.store.location, stack)
            credentials = await open_credentials(config.backends, stack)
            channels, sources = await _connections(config.backends, credentials, stack, slices)
            registries = {
                each.name: _registry(each, sources[each.name], slices) for each in config.backends
            }
            backends = {
                each.name: _backend(
                    *(each, endpoint_of(each, credentials.get(each.name)), channels[each.name]),
                    *(registries[each.name], router, journal),
                )
                for each in config.backends
            }
            checks = tuple(
                HealthCheck(backend, channels[name], _HEALTH_DEADLINE)
                for name, backend in backends.items()
            )
            tasks = await stack.enter_async_context(BackgroundTasks(CALLS_GRACE))
            catalog = Catalog(backends, _rules(config.backends), RESERVED_NAMES, tasks, slices)
            access = _access(config, policy or _policy(config), stack)
            parts = _Parts(backends, router, sealer, tasks, catalog, journal, *access)
            service = _service(config, parts)
            for check in checks:
                tasks.start(_report(check, service.catalog))
            for channel in channels.values():
                if isinstance(channel, TlsChannel):
                    tasks.start(channel.keep_current())
            tasks.start(sweep(service.reads, backends.values()))
            for each in config.backends:
                tasks.start(_refresh(backends[each.name].registry, each.descriptor_refresh))
            callers = Callers(authenticator) if authenticator else open_callers(config, tasks)
            callers = passing(callers, config.backends)
            yield Gateway(config, service, sealer, callers, checks, shared_directory)


async def _opened_journal(location: Location, stack: AsyncExitStack) -> Journal | None:
    """Open the store, if there is one. It closes after everything that writes into it."""
    if location.is_nowhere:
        return None
    try:
        store = await stack.enter_async_context(open_store(location))
    except StoreError as error:
        raise ConfigError([f"store: {error}"]) from error
    return store.journal


def _access(config: GatewayConfig, policy: Policy, stack: AsyncExitStack) -> tuple[Policy, Audit]:
    """Open the audit, and return the policy whose refusals it has.

    The audit closes after everything that writes into it.
    """
    to = config.audit.to
    try:
        audit = Audit(stack.enter_context(open_sink(to)))
    except OSError as error:
        raise ConfigError([f"audit.to: {to} cannot be written: {error.strerror}"]) from error
    return (policy if to == NONE else AuditedPolicy(policy, audit)), audit


def _router(configs: Sequence[BackendConfig]) -> Router:
    operations = {each.name: each.operations for each in configs}
    return Router(operations, {each.name: each.description for each in configs})


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the service is made of, and what others use too."""

    backends: Mapping[str, Backend]
    router: Router
    sealer: Sealer
    tasks: BackgroundTasks
    catalog: Catalog
    journal: Journal | None
    policy: Policy
    audit: Audit


def _service(config: GatewayConfig, parts: _Parts) -> OperationService:
    policy = parts.policy
    backends, router, sealer, tasks = parts.backends, parts.router, parts.sealer, parts.tasks
    views = Views(router, policy)
    kept = {each.name: each.journal_requests for each in config.backends}
    shutdown = Shutdown()
    reads = Reads(config.limits.kept_bytes)
    budgets = Budgets()
    limits = config.limits
    bounds = WatchBounds(
        limits.max_watches,
        limits.max_watches_per_principal,
        {each.name: each.max_watches for each in config.backends},
    )
    watches = Watches(tasks, reads, budgets, shutdown, bounds)
    waits = Waits(reads, watches, budgets, config.server.default_wait)
    return OperationService(
        backends=backends,
        router=router,
        views=views,
        policy=policy,
        audit=parts.audit,
        catalog=parts.catalog,
        reads=reads,
        watches=watches,
        list_watches=ListWatches(tasks, budgets, shutdown, bounds),
        listing=Listing(backends, views, policy, sealer),
        watch_bounds=bounds,
        rates=Rates(limits.rates.by_verb),
        waits=waits,
        starts=Starts(
            tasks, shutdown, waits, config.server.sync_grace, Journaling(parts.journal, kept)
        ),
        shutdown=shutdown,
        mine=Mine(parts.journal, backends, router, policy, reads, sealer),
    )


def _policy(config: GatewayConfig) -> Policy:
    rules = rules_of(config.policy, read_only=config.server.read_only)
    backends = [backend.name for backend in config.backends]
    return RulePolicy(rules, backends) if rules else AllowAll()


def _rules(configs: Iterable[BackendConfig]) -> Mapping[str, OfferRules]:
    return {each.name: _rules_of(each) for each in configs}


def _rules_of(config: BackendConfig) -> OfferRules:
    hints = {
        pattern: stated.model_dump(exclude_none=True) for pattern, stated in config.hints.items()
    }
    return OfferRules(
        config.methods, config.exclude_methods, config.confirm, hints, config.request_ids
    )


async def _connections(
    configs: Iterable[BackendConfig],
    credentials: Mapping[str, Credentials],
    stack: AsyncExitStack,
    slices: Slices,
) -> tuple[dict[str, Channel], dict[str, list[DescriptorSource]]]:
    """Open the channels and the descriptor files; one `ConfigError` has all mistakes in them."""
    channels: dict[str, Channel] = {}
    sources: dict[str, list[DescriptorSource]] = {}
    mistakes = []
    for config in configs:
        shown = credentials.get(config.name)
        try:
            channel = channels[config.name] = open_channel(endpoint_of(config, shown))
        except ValueError as error:
            mistakes.append(f"backend {config.name}: {error}")
            continue
        stack.push_async_callback(channel.close, None)
        sources[config.name] = []
        for source in config.descriptors:
            try:
                sources[config.name].append(_source(source, config, channel, shown, slices))
            except SourceError as error:
                mistakes.append(f"backend {config.name}: descriptors: {error}")
    if mistakes:
        raise ConfigError(mistakes)
    return channels, sources


def _registry(
    config: BackendConfig, sources: Sequence[DescriptorSource], slices: Slices
) -> TypeRegistry:
    return TypeRegistry(
        config.name,
        sources,
        limits=_limits(config),
        slices=slices,
        capacity=Capacity(config.max_message_elements),
    )


def _limits(config: BackendConfig) -> DescriptorLimits:
    return DescriptorLimits(
        files=config.max_descriptor_files,
        services=config.max_services,
        methods=config.max_methods,
        size=config.max_descriptor_bytes,
        wait=config.discovery_wait.total_seconds(),
    )


def _backend(
    config: BackendConfig,
    endpoint: Endpoint,
    channel: Channel,
    registry: TypeRegistry,
    router: Router,
    journal: Journal | None,
) -> Backend:
    rules = ListRules(
        collection=config.list_name == "collection",
        default_parent=config.default_parent,
        max_page_size=config.max_page_size,
    )
    backend = Backend(
        endpoint,
        channel,
        registry,
        public_name=partial(router.public_name, config.name),
        public_parent=partial(router.public_parent, config.name),
        list_rules=rules,
        watch_rules=WatchRules(
            Cadence(*(interval.total_seconds() for interval in config.poll_intervals)),
            config.polls_per_second,
            config.freshness,
            config.progress_fields,
        ),
    )
    if journal is not None:
        backend.observe = journal.observe
    return backend


def _source(
    source: str, config: BackendConfig, channel: Channel, shown: Credentials | None, slices: Slices
) -> DescriptorSource:
    """Return a source of descriptors; raise `SourceError` if it is a file that cannot be used."""
    if source == "reflection":
        deadline = min(config.deadline, _REFLECTION_DEADLINE).total_seconds()
        more = partial(shown.own.metadata, deadline) if shown and shown.own else None
        limits = _limits(config)
        return ReflectionSource(channel, call_metadata(config), deadline, limits, slices, more)
    if source.startswith("module:"):
        return ModuleSource(source.removeprefix("module:"), slices=slices)
    file = FileSource(Path(source), slices)
    file.load()
    return file


async def _report(check: HealthCheck, catalog: Catalog) -> None:
    report = await check.report()
    if report.health is Health.SERVING:
        logger.info("backend %s at %s is serving", report.backend, report.target)
        # The catalog logs how many methods it offers. Callers then need not wait for the look-up.
        await catalog.prepare(report.backend)
    else:
        logger.warning(
            "backend %s is not serving yet: %s",
            report.backend,
            report.message or report.health.value,
        )


async def _refresh(registry: TypeRegistry, interval: timedelta) -> None:
    """Refresh descriptors again and again, and sooner if a look-up failed for a moment."""
    longest, soon = interval.total_seconds(), FAILED_FOR
    while True:
        try:
            async with asyncio.timeout(longest):
                await registry.is_incomplete.wait()
            await asyncio.sleep(min(soon, longest))
            soon *= 2
        except TimeoutError:
            soon = FAILED_FOR
        try:
            await registry.refresh()
        except Exception:
            # The gateway keeps the present descriptors until a later refresh succeeds.
            logger.exception("descriptors could not be refreshed")
