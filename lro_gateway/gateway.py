"""Assembles a gateway: only this module constructs the objects and connects them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from lro_gateway.access.audit import Audit, AuditedPolicy
from lro_gateway.access.audit_sinks import NONE, open_sink
from lro_gateway.access.authentication import Authenticator
from lro_gateway.access.ownership import Ownership
from lro_gateway.access.policy import AllowAll, Policy
from lro_gateway.access.rule_policy import RulePolicy
from lro_gateway.access.sealing import Sealer
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Channel
from lro_gateway.backends.health import Health, HealthCheck
from lro_gateway.backends.router import Router
from lro_gateway.backends.tls_channel import TlsChannel
from lro_gateway.background import BackgroundTasks, Slices
from lro_gateway.config.approvals import with_approvals
from lro_gateway.config.backend_credentials import open_credentials
from lro_gateway.config.backends import naming_of, offer_rules, open_backends, router_of
from lro_gateway.config.callers import Callers, open_callers, passing
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig, GatewayConfig
from lro_gateway.config.policy import rules_of
from lro_gateway.deliveries.addresses import AddressFilter
from lro_gateway.deliveries.deliveries import Deliveries, Settings
from lro_gateway.deliveries.egress import Egress
from lro_gateway.deliveries.messages import FORBIDDEN, IDS
from lro_gateway.deliveries.subscribing import Rules
from lro_gateway.deliveries.tracking import EventRules
from lro_gateway.deliveries.verifying import Verifier
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.source_list import FAILED_FOR
from lro_gateway.records.location import StoreError, StoreFileError
from lro_gateway.records.opening import WITHOUT_STORE, Store, open_store
from lro_gateway.service.archiving import Archiving
from lro_gateway.service.beginnings import Beginnings
from lro_gateway.service.budget import Budgets
from lro_gateway.service.catalog import RESERVED_NAMES, Catalog
from lro_gateway.service.existence import Existence
from lro_gateway.service.idempotency import Idempotency
from lro_gateway.service.journaling import Journaling
from lro_gateway.service.list_watch import ListWatches
from lro_gateway.service.listing import Listing
from lro_gateway.service.memory import sweep
from lro_gateway.service.mine import Mine
from lro_gateway.service.rates import Buckets, Rates
from lro_gateway.service.reads import Reads
from lro_gateway.service.service import OperationService
from lro_gateway.service.shared_watches import SharedWatches
from lro_gateway.service.short_names import ShortNames
from lro_gateway.service.shutdown import Shutdown
from lro_gateway.service.stalls import Stalls
from lro_gateway.service.starting import Starts
from lro_gateway.service.stored_names import Naming
from lro_gateway.service.views import Views
from lro_gateway.service.waiting import Waits
from lro_gateway.service.watch_bounds import WatchBounds
from lro_gateway.service.watches import Watches
from lro_gateway.service.work_health import WorkHealth

logger: Final = logging.getLogger(__name__)

_HEALTH_DEADLINE: Final = timedelta(seconds=2)
_HEALTH_INTERVAL: Final = 10.0
"""Seconds between two checks of the health of a backend that nobody calls."""
CALLS_GRACE: Final = timedelta(seconds=10)
"""The time that running calls of backends have to end at shutdown.

The callers have already got the error that the gateway is shutting down.
"""
_EPHEMERAL: Final = (
    "server.keys has no key, which suffices for a trial: task ids, page tokens and the secrets of"
    " webhooks are valid only until this process ends, and other replicas reject them"
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
    work_health: WorkHealth | None = None
    deliveries: Deliveries | None = None
    shared_directory: Path | None = None

    @property
    def authenticator(self) -> Authenticator:
        """Identifies the caller of a request."""
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
        router = router_of(config.backends)
        sealer = Sealer(*(key.get_secret_value() for key in config.server.keys))
        if sealer.is_ephemeral:
            logger.warning(_EPHEMERAL)
        slices = Slices()
        async with AsyncExitStack() as stack:
            store = await _opened_store(config, naming_of(config.backends, router), stack)
            stalls = _stalls(config.backends, store)
            credentials = await open_credentials(config.backends, stack)
            backends, channels = await open_backends(
                *(config.backends, credentials, router, stack, slices),
                stalls.observe if stalls is not None else None,
            )
            checks = tuple(
                HealthCheck(backend, channels[name], _HEALTH_DEADLINE)
                for name, backend in backends.items()
            )
            tasks = await stack.enter_async_context(BackgroundTasks(CALLS_GRACE))
            catalog = Catalog(backends, offer_rules(config.backends), RESERVED_NAMES, tasks, slices)
            access = _access(config, policy or _policy(config), stack)
            parts = _Parts(backends, router, sealer, tasks, catalog, store, *access)
            identifies = bool(authenticator or config.auth)
            service = with_approvals(
                *(config, _service(config, parts), store, sealer, tasks), identifies=identifies
            )
            for check in checks:
                tasks.start(_watch_health(check, catalog))
            _keep_current(config, backends, channels, tasks)
            tasks.start(sweep(service.reads, backends.values()))
            health = None
            if store is not None and stalls is not None:
                health = WorkHealth(stalls, store.history, store.activity)
                tasks.start(health.run())
            callers = Callers(authenticator) if authenticator else open_callers(config, tasks)
            callers = passing(callers, config.backends)
            deliveries = await _deliveries(config, parts, service, stalls, stack)
            yield Gateway(
                *(config, service, sealer, callers, checks, health, deliveries, shared_directory)
            )


async def _opened_store(
    config: GatewayConfig, naming: Naming, stack: AsyncExitStack
) -> Store | None:
    """Open the store, if there is one. It closes after everything that writes into it."""
    location = config.store.location
    if location.is_nowhere:
        return None
    try:
        limits = (config.store.journal_limits, config.store.archive_limits)
        opening = open_store(location, *limits, names=naming.changes)
        store = await stack.enter_async_context(opening)
    except StoreError as error:
        if location.is_default and isinstance(error, StoreFileError):
            logger.warning("%s: %s", WITHOUT_STORE, error)
            return None
        raise ConfigError([f"store: {error}"]) from error
    # Without their names, operations have no owners that could hide them.
    level = logging.WARNING if config.needs_owners else logging.INFO
    await naming.report(store.history, level)
    return store


def _stalls(configs: Sequence[BackendConfig], store: Store | None) -> Stalls | None:
    if store is None:
        return None
    expected = {each.name: each.expected_times for each in configs}
    return Stalls(store.journal, store.history, expected)


async def _deliveries(
    config: GatewayConfig,
    parts: _Parts,
    service: OperationService,
    stalls: Stalls | None,
    stack: AsyncExitStack,
) -> Deliveries | None:
    """Deliver events until the stack closes, if there is a store."""
    if parts.store is None or stalls is None:
        return None
    settings = config.deliveries
    addresses = AddressFilter(settings.allowed_addresses)
    try:
        egress = Egress(addresses, proxy=settings.proxy or None, ca=settings.ca)
    except ValueError as error:
        raise ConfigError([f"deliveries.ca: {error}"]) from error
    stack.push_async_callback(egress.close)
    rules = Rules(
        addresses,
        settings.max_webhooks_per_principal,
        http=settings.allow_http,
        anonymous=settings.allow_anonymous and config.server.is_loopback,
    )
    challenges = Buckets("challenge", settings.challenge_rate, parts.store.rates)
    verifier = Verifier(
        *(egress, settings.verified_receivers, challenges.spend),
        reads_documents=settings.receiver_documents,
    )
    public_url = config.auth.resource if config.auth is not None else ""
    deliveries = Deliveries(
        *(service, parts.store.events, parts.tasks, egress, parts.sealer),
        Settings(
            *(rules, verifier),
            EventRules(
                *(settings.progress_interval.total_seconds(), stalls.expected),
                *(parts.store.journal.look_again, public_url),
            ),
            FORBIDDEN[settings.error_codes],
            IDS[settings.webhook_id],
        ),
    )
    service.starts.started = deliveries.started
    if service.approvals is not None:
        service.approvals.asked = deliveries.requested
    return await stack.enter_async_context(deliveries.running())


def _keep_current(
    config: GatewayConfig,
    backends: Mapping[str, Backend],
    channels: Mapping[str, Channel],
    tasks: BackgroundTasks,
) -> None:
    """Read the files of TLS and the descriptors again and again, in the background."""
    for channel in channels.values():
        if isinstance(channel, TlsChannel):
            tasks.start(channel.keep_current())
    for each in config.backends:
        tasks.start(_refresh(backends[each.name].registry, each.descriptor_refresh))


def _access(config: GatewayConfig, policy: Policy, stack: AsyncExitStack) -> tuple[Policy, Audit]:
    """Open the audit, and return the policy whose refusals it has.

    The audit closes after everything that writes into it.
    """
    to = config.audit.to
    try:
        audit = Audit(stack.enter_context(open_sink(to)))
    except OSError as error:
        raise ConfigError([f"audit.to: {to} cannot be written: {error.strerror}"]) from error
    stack.callback(audit.close)
    return (policy if to == NONE else AuditedPolicy(policy, audit)), audit


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of the service that other parts of the gateway use too."""

    backends: Mapping[str, Backend]
    router: Router
    sealer: Sealer
    tasks: BackgroundTasks
    catalog: Catalog
    store: Store | None
    policy: Policy
    audit: Audit


def _service(config: GatewayConfig, parts: _Parts) -> OperationService:
    policy = parts.policy
    journal = parts.store.journal if parts.store is not None else None
    backends, router, sealer, tasks = parts.backends, parts.router, parts.sealer, parts.tasks
    views = Views(router, policy)
    ownership, short_names = _ownership(config, parts, views)
    kept = {each.name: each.journal_requests for each in config.backends}
    journaling = Journaling(journal, kept, ownership)
    shutdown = Shutdown()
    archive = parts.store.archive if parts.store is not None else None
    is_shared = parts.store is not None and parts.store.leads is not None
    archiving = Archiving(router, archive, journal, is_shared)
    recall = archiving.recall if archive is not None else None
    for each in backends.values():
        each.recent.is_gone = archiving.is_gone
    reads, recalls = Reads(config.limits.kept_bytes, recall), Reads(0, recall)
    budgets = Budgets()
    limits = config.limits
    of_backends = {each.name: each.max_watches for each in config.backends}
    bounds = WatchBounds(limits.max_watches, limits.max_watches_per_principal, of_backends)
    watches = Watches(tasks, reads, budgets, shutdown, bounds, _sharing(parts, reads))
    waits = Waits(reads, watches, budgets, config.server.default_wait)
    starts = Starts(tasks, shutdown, waits, config.server.sync_grace, journaling)
    window, wait = config.store.idempotency_window, config.server.default_wait
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
        listing=Listing(backends, views, policy, sealer, ownership),
        watch_bounds=bounds,
        rates=Rates(limits.rates.by_verb, parts.store.rates if parts.store is not None else None),
        waits=waits,
        starts=starts,
        idempotency=Idempotency(journal, starts, shutdown, router, window=window, patience=wait),
        shutdown=shutdown,
        mine=Mine(journal, backends, views, reads, sealer, parts.catalog, ownership),
        short_names=short_names,
        archiving=archiving,
        beginnings=Beginnings(journal, parts.store.history if parts.store is not None else None),
        existence=Existence(ownership, policy, bounds, parts.audit, recalls) if ownership else None,
    )


def _sharing(parts: _Parts, reads: Reads) -> SharedWatches | None:
    """Return the watches that replicas share, or None if only one process uses the store."""
    if parts.store is None or parts.store.leads is None:
        return None
    sharing = SharedWatches(parts.store.leads, parts.tasks, parts.store.journal.flush)
    sharing.start()
    reads.ended = sharing.ended
    return sharing


def _ownership(
    config: GatewayConfig, parts: _Parts, views: Views
) -> tuple[Ownership | None, ShortNames]:
    """Return the ownership of operations, and the look-up of short names.

    The first is None if operations exist for everybody.
    """
    owners = parts.store.owners if parts.store is not None else None
    visibility = {each.name: each.visibility for each in config.backends}
    everybody = set(visibility.values()) <= {"all"}
    ownership = None if everybody else Ownership(visibility, owners)
    return ownership, ShortNames(views, parts.backends, owners, ownership)


def _policy(config: GatewayConfig) -> Policy:
    rules = rules_of(config.policy, read_only=config.server.read_only)
    backends = [backend.name for backend in config.backends]
    return RulePolicy(rules, backends) if rules else AllowAll()


async def _watch_health(check: HealthCheck, catalog: Catalog) -> None:
    """Check the health of a backend again and again. Log each change once, whatever the cause."""
    known, since = None, "yet"
    while True:
        report = await check.report()
        is_serving = report.health is Health.SERVING
        if is_serving is not known:
            known = is_serving
            if is_serving:
                since = "any more"
                logger.info("backend %s at %s is serving", report.backend, report.target)
                # The catalog logs how many methods it offers. Callers need not wait for that then.
                await catalog.prepare(report.backend)
            else:
                reason = report.message or report.health.value
                logger.warning("backend %s is not serving %s: %s", report.backend, since, reason)
        await asyncio.sleep(_HEALTH_INTERVAL)


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
