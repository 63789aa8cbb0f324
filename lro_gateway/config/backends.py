"""Opens what the configuration says of each backend: its channel, its descriptors, its rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from lro_gateway.backends.backend import Backend, Observe
from lro_gateway.backends.channel import Channel, Endpoint, open_channel
from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.backends.list_query import ListRules
from lro_gateway.backends.router import Router
from lro_gateway.background import Slices
from lro_gateway.config.endpoints import call_metadata, endpoint_of
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.descriptors.limits import DescriptorLimits
from lro_gateway.descriptors.reflection import ReflectionSource
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.sources import DescriptorSource, FileSource, ModuleSource, SourceError
from lro_gateway.operations.watch_rules import Cadence, WatchRules
from lro_gateway.service.offer_rules import OfferRules
from lro_gateway.service.stored_names import Naming

_REFLECTION_DEADLINE: Final = timedelta(seconds=5)


def router_of(configs: Sequence[BackendConfig]) -> Router:
    """Return the router of all backends."""
    operations = {each.name: each.operations for each in configs}
    descriptions = {each.name: each.description for each in configs}
    names = {each.name: each.former_names for each in configs}
    patterns = {each.name: each.former_operations for each in configs}
    return Router(operations, descriptions, names, patterns)


def naming_of(configs: Sequence[BackendConfig], router: Router) -> Naming:
    """Return the present and the former names of backends and of their operations."""
    return Naming(
        router,
        {each.name: each.former_names for each in configs},
        {each.name: each.operations for each in configs},
        {each.name: each.former_operations for each in configs},
    )


def offer_rules(configs: Iterable[BackendConfig]) -> Mapping[str, OfferRules]:
    """Return what each backend offers, by its name."""
    return {each.name: _rules_of(each) for each in configs}


def _rules_of(config: BackendConfig) -> OfferRules:
    hints = {
        pattern: stated.model_dump(exclude_none=True) for pattern, stated in config.hints.items()
    }
    return OfferRules(
        config.methods,
        config.exclude_methods,
        config.confirm,
        hints,
        config.request_ids,
        approval=config.approval,
    )


async def open_backends(
    configs: Sequence[BackendConfig],
    credentials: Mapping[str, Credentials],
    router: Router,
    stack: AsyncExitStack,
    slices: Slices,
    observe: Observe | None,
) -> tuple[dict[str, Backend], dict[str, Channel]]:
    """Return the backends and their channels by name; the channels close with the stack.

    `observe` gets each state of an operation that a backend answers. One `ConfigError` has all
    mistakes in the channels and the descriptor files.
    """
    channels, sources = await _connections(configs, credentials, stack, slices)
    backends = {}
    for each in configs:
        registry = _registry(each, sources[each.name], slices)
        endpoint = endpoint_of(each, credentials.get(each.name))
        backend = _backend(each, endpoint, channels[each.name], registry, router)
        if observe is not None:
            backend.observe = observe
        backends[each.name] = backend
    return backends, channels


async def _connections(
    configs: Iterable[BackendConfig],
    credentials: Mapping[str, Credentials],
    stack: AsyncExitStack,
    slices: Slices,
) -> tuple[dict[str, Channel], dict[str, list[DescriptorSource]]]:
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
) -> Backend:
    rules = ListRules(
        collection=config.list_name == "collection",
        default_parent=config.default_parent,
        max_page_size=config.max_page_size,
    )
    return Backend(
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
