"""The gateway, assembled: the only place that constructs and connects objects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from lro_gateway.backends.backend import Backend, ListRules
from lro_gateway.backends.channel import Channel, Endpoint, Tls, open_channel
from lro_gateway.backends.health import Health, HealthCheck
from lro_gateway.backends.router import Router
from lro_gateway.background import task_group
from lro_gateway.config import BackendConfig, ConfigError, GatewayConfig, TlsConfig
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.sources import (
    DescriptorSource,
    FileSource,
    ModuleSource,
    ReflectionSource,
    SourceError,
)
from lro_gateway.operations.operation import Cadence, WatchRules
from lro_gateway.principal import AllowAll
from lro_gateway.sealing import Sealer
from lro_gateway.service.catalog import RESERVED_NAMES, Catalog, OfferRules
from lro_gateway.service.reads import Reads
from lro_gateway.service.service import OperationService
from lro_gateway.service.starting import Outcome, StartOptions
from lro_gateway.service.watch import Watches

logger: Final = logging.getLogger(__name__)

_REFLECTION_DEADLINE: Final = timedelta(seconds=5)
_HEALTH_DEADLINE: Final = timedelta(seconds=2)
CALLS_GRACE: Final = 10
"""Seconds that calls whose callers were told that the gateway stops get to end."""
_EPHEMERAL: Final = (
    "server.keys has no key: task ids and page tokens end with this process,"
    " and other replicas do not know them"
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that serves, open until `open` ends."""

    config: GatewayConfig
    service: OperationService
    sealer: Sealer
    health_checks: tuple[HealthCheck, ...]
    catalog: Catalog

    @staticmethod
    @asynccontextmanager
    async def open(config: GatewayConfig) -> AsyncIterator[Gateway]:
        """Connect to the configured backends; `ConfigError` if that cannot be as configured.

        A backend that is down is reported in the log and works when it comes up.
        """
        router = Router({backend.name: backend.operations for backend in config.backends})
        async with AsyncExitStack() as stack:
            backends: dict[str, Backend] = {}
            checks = []
            for backend_config in config.backends:
                channel = _channel(backend_config)
                stack.push_async_callback(channel.close, None)
                backend = _backend(backend_config, channel, router)
                backends[backend.name] = backend
                checks.append(HealthCheck(backend, channel, _HEALTH_DEADLINE))
            sealer = Sealer(*(key.get_secret_value() for key in config.server.keys))
            if sealer.is_ephemeral:
                logger.warning(_EPHEMERAL)
            async with task_group() as group:
                ending: set[asyncio.Task[None]] = set()
                calls: set[asyncio.Task[Outcome]] = set()

                def call(work: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome]:
                    """Start what may go on for a while when the gateway closes."""
                    task = group.create_task(work)
                    calls.add(task)
                    task.add_done_callback(calls.discard)
                    return task

                def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                    """Start what ends when the gateway closes, if not before."""
                    task = group.create_task(work)
                    ending.add(task)
                    task.add_done_callback(ending.discard)
                    return task

                rules = {each.name: _rules(each) for each in config.backends}
                catalog = Catalog(backends, rules, RESERVED_NAMES, spawn)
                service = OperationService(
                    backends,
                    router,
                    catalog,
                    AllowAll(),
                    sealer,
                    StartOptions(call, config.server.sync_grace),
                    Watches(spawn, Reads()),
                )
                gateway = Gateway(config, service, sealer, tuple(checks), catalog)
                for check in checks:
                    spawn(_report(check))
                for backend_config in config.backends:
                    registry = backends[backend_config.name].registry
                    spawn(_refresh(registry, backend_config.descriptor_refresh))
                try:
                    yield gateway
                finally:
                    for task in ending:
                        task.cancel()
                    await _end(calls)


async def _end(calls: Iterable[asyncio.Task[Any]]) -> None:
    """Give calls a while to end, then cut them off: a backend that hangs must not hold us."""
    if under_way := [*calls]:
        _, late = await asyncio.wait(under_way, timeout=CALLS_GRACE)
        for task in late:
            task.cancel()


def _rules(config: BackendConfig) -> OfferRules:
    hints = {
        pattern: stated.model_dump(exclude_none=True) for pattern, stated in config.hints.items()
    }
    return OfferRules(config.methods, config.exclude_methods, config.confirm, hints)


def _channel(config: BackendConfig) -> Channel:
    try:
        return open_channel(_endpoint(config))
    except (OSError, ValueError) as error:
        raise ConfigError([f"backend {config.name}: {error}"]) from error


def _endpoint(config: BackendConfig) -> Endpoint:
    return Endpoint(
        config.name,
        config.target,
        tls=_tls(config.tls),
        metadata=tuple(config.metadata.items()),
        deadline=config.deadline,
        keepalive=config.keepalive,
        max_message_bytes=config.max_message_bytes,
    )


def _tls(config: TlsConfig | None) -> Tls | None:
    return Tls(config.ca, config.cert, config.key, config.server_name) if config else None


def _backend(config: BackendConfig, channel: Channel, router: Router) -> Backend:
    rules = ListRules(
        collection=config.list_name == "collection",
        default_parent=config.default_parent,
        max_page_size=config.max_page_size,
    )
    return Backend(
        _endpoint(config),
        channel,
        TypeRegistry(
            config.name, [_source(source, config, channel) for source in config.descriptors]
        ),
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


def _source(source: str, config: BackendConfig, channel: Channel) -> DescriptorSource:
    if source == "reflection":
        deadline = min(config.deadline, _REFLECTION_DEADLINE).total_seconds()
        return ReflectionSource(channel, tuple(config.metadata.items()), deadline)
    if source.startswith("module:"):
        return ModuleSource(source.removeprefix("module:"))
    file = FileSource(Path(source))
    try:
        file.load()
    except SourceError as error:
        raise ConfigError([f"backend {config.name}: descriptors: {error}"]) from error
    return file


async def _report(check: HealthCheck) -> None:
    report = await check.report()
    if report.health is Health.SERVING:
        logger.info("backend %s at %s is serving", report.backend, report.target)
    else:
        logger.warning(
            "backend %s is not serving yet: %s",
            report.backend,
            report.message or report.health.value,
        )


async def _refresh(registry: TypeRegistry, interval: timedelta) -> None:
    while True:
        await asyncio.sleep(interval.total_seconds())
        try:
            await registry.refresh()
        except Exception:
            # The last good set serves on; a fault in fetching the next must not end the gateway.
            logger.exception("descriptors could not be refreshed")
