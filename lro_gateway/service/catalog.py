"""What can be started: the methods that backends offer, under names that tell them apart."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from lro_gateway.backends.backend import Backend
from lro_gateway.descriptors.methods import Method, snake_words
from lro_gateway.descriptors.registry import TypeSet
from lro_gateway.errors import Code, quote, status_error

logger: Final = logging.getLogger(__name__)

MAX_NAME: Final = 64
"""The longest name of a tool that every MCP client takes."""

RESERVED_NAMES: Final = frozenset(
    {"list_operations", *(f"{verb}_operation" for verb in ("get", "wait", "cancel", "delete"))}
)
"""The names of the five verbs, which no method may take."""

_BACKEND: Final = "backend"
_CLASHING_BACKEND: Final = "gateway_backend"
_HASH_LENGTH: Final = 8
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_]")

# The verbs that begin the names of methods (AIP-131 to 136), and what they tell.
_MANY: Final = frozenset({"batch", "bulk"})
_READS: Final = frozenset({"get", "list", "search", "query", "lookup", "describe", "count"})
_ADDS: Final = frozenset({"create", "add", "insert", "export", "backup", "copy", "clone"})
_DESTROYS: Final = frozenset(
    {
        *("delete", "purge", "drop", "remove", "destroy", "truncate", "cancel", "reset", "restore"),
        *("update", "patch", "set", "replace"),
    }
)
_IDEMPOTENT: Final = frozenset({"update", "delete", "set", "replace", "cancel"})


@dataclass(frozen=True, slots=True)
class Hints:
    """What a method does to the world, as MCP's tool annotations put it.

    `destroys` is whether it may do more than add to it; None where nothing tells, which a client
    takes for the worse.
    """

    reads: bool
    destroys: bool | None
    idempotent: bool


@dataclass(frozen=True, slots=True)
class OfferRules:
    """Which methods of a backend are offered, by patterns of `pkg.Service/Method`.

    Long-running methods are, unless `exclude` matches; plain ones where `include` does. `confirm`
    marks those that a person must agree to; the hints override what the names suggest.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    hints: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    def offers(self, method: Method) -> bool:
        """Tell whether a method is offered."""
        if self.excludes(method.path):
            return False
        return method.is_long_running or _matches(method, self.include)

    def excludes(self, path: str) -> bool:
        """Tell whether a `pkg.Service/Method` is excluded."""
        return any(fnmatchcase(path, pattern) for pattern in self.exclude)

    def confirms(self, path: str) -> bool:
        """Tell whether a person must agree first to a `pkg.Service/Method`."""
        return any(fnmatchcase(path, pattern) for pattern in self.confirm)

    def hints_of(self, method: Method) -> Hints:
        """Return what a method does, by its HTTP verb and its name's, or as the rules say."""
        http = {binding.verb for binding in method.bindings}
        verb = _verb(method)
        named_read = not http and not method.is_long_running and verb in _READS
        reads = http == {"GET"} or named_read
        destroys = False if reads else _destroys(http, verb)
        idempotent = reads or bool(http & {"PUT", "DELETE"}) or verb in _IDEMPOTENT
        stated: dict[str, bool] = {}
        for pattern, hints in self.hints.items():
            if _matches(method, (pattern,)):
                stated.update(hints)
        return Hints(
            stated.get("read_only", reads),
            stated.get("destructive", destroys),
            stated.get("idempotent", idempotent),
        )


def _verb(method: Method) -> str:
    """Return the verb of a method's name: `delete` of DeleteBook and of BatchDeleteBooks."""
    words = method.words
    return next((word for word in words if word not in _MANY), "")


def _destroys(http: set[str], verb: str) -> bool | None:
    if verb in _DESTROYS or http & {"DELETE", "PATCH", "PUT"}:
        return True
    return False if verb in _ADDS else None


def _matches(method: Method, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(method.path, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Offer:
    """A method that can be called, on one backend or on several alike.

    `name` is unique in the catalog; `types` are those of the first backend, which describe it.
    `confirm` names the backends on which a person must agree first.
    """

    name: str
    method: Method
    backends: tuple[str, ...]
    types: TypeSet = field(repr=False, compare=False)
    hints: Hints
    confirm: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovered:
    """What the descriptors of a backend tell: its services, their RPCs as `pkg.Service/Method`.

    `streaming` are those that cannot be offered and that `exclude` does not match; `problems` are
    why there may be more.
    """

    services: tuple[str, ...]
    rpcs: tuple[str, ...]
    streaming: tuple[str, ...]
    problems: tuple[str, ...]


def backend_argument(method: Method) -> str:
    """Return the argument that chooses a backend; another word where the request has that field.

    Else of two backends neither could be called by a request whose names do not tell which.
    """
    names = {name for field in method.request.fields for name in (field.name, field.json_name)}
    return _CLASHING_BACKEND if _BACKEND in names else _BACKEND


class Catalog:
    """Every offer of every backend, built anew when a backend's descriptors change."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        rules: Mapping[str, OfferRules],
        reserved: frozenset[str],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """Take the backends, the rules of each, and what starts a task in the background."""
        self._backends = backends
        self._spawn = spawn
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._rules = rules
        self._reserved = reserved
        self._built_from: tuple[int, ...] = ()
        self._offers: Mapping[str, Offer] = {}
        self._by_method: dict[str, Offer] = {}

    async def offers(self, *, settled: bool = False) -> Mapping[str, Offer]:
        """Return the offers by name, in an order that depends on their names alone.

        The same object, as long as no backend's descriptors have changed. Each backend's first word
        is waited for. One that had none is asked again in the background, so that it holds nobody
        up; with `settled` that is waited for too.
        """
        await self._discover(settled=settled)
        return self._offers

    async def find(self, method: str) -> Offer:
        """Return the offer of a method by its full name; NOT_FOUND if none is offered.

        What is known is not looked for again: a backend that is down must not hold up the others.
        """
        if self._generations() != self._built_from or method not in self._by_method:
            await self._discover(settled=True)
        offer = self._by_method.get(method)
        if offer is None:
            raise status_error(
                Code.NOT_FOUND,
                f"no backend offers {quote(method)}",
                "METHOD_NOT_OFFERED",
                metadata={"method": quote(method)},
            )
        return offer

    def confirms(self, backend: str, path: str) -> bool:
        """Tell whether a person must agree before `pkg.Service/Method` is called on a backend."""
        return self._rules[backend].confirms(path)

    async def streaming(self) -> Mapping[str, tuple[str, ...]]:
        """Return, by backend, the streaming methods, which cannot be offered, as `Service/Method`.

        Without those that `exclude` matches.
        """
        await self._discover(settled=True)
        return {name: tuple(self._streaming_of(name)) for name in self._backends}

    async def discovered(self) -> Mapping[str, Discovered]:
        """Return what there is to offer, by backend in the order of the configuration."""
        await self._discover(settled=True)
        return {name: self._discovered(name) for name in self._backends}

    def _discovered(self, backend: str) -> Discovered:
        registry = self._backends[backend].registry
        services, types = registry.services, registry.types
        rpcs = [method.path for service in services for method in types.methods_of(service)]
        streams = [each for service in services for each in types.streaming_methods_of(service)]
        unread = () if registry.was_discovered else ("they could not be read; the log says why",)
        return Discovered(
            services,
            (*rpcs, *map(_path, streams)),
            tuple(self._streaming_of(backend)),
            (*registry.problems, *unread, *types.left_out),
        )

    def _streaming_of(self, backend: str) -> Iterator[str]:
        registry = self._backends[backend].registry
        for service in registry.services:
            for method in registry.types.streaming_methods_of(service):
                if not self._rules[backend].excludes(path := _path(method)):
                    yield path

    def _generations(self) -> tuple[int, ...]:
        return tuple(backend.registry.generation for backend in self._backends.values())

    async def _discover(self, *, settled: bool) -> None:
        """Ask the backends for what is not known yet, all at once, and build anew what changed."""
        for name, backend in self._backends.items():
            if backend.registry.is_discovery_due and name not in self._looking:
                self._looking[name] = self._spawn(self._look(name))
        awaited = [
            task
            for name, task in self._looking.items()
            if settled or not self._backends[name].registry.was_discovered
        ]
        if awaited:
            await asyncio.wait(awaited)
        if (generations := self._generations()) != self._built_from:
            self._offers = self._build()
            self._by_method = {offer.method.full_name: offer for offer in self._offers.values()}
            self._built_from = generations

    async def _look(self, name: str) -> None:
        """Ask one backend; a fault of ours in reading what it says must not end the gateway."""
        try:
            await self._backends[name].registry.discover()
        except Exception:
            logger.exception("backend %s: its methods could not be read", name)
        finally:
            del self._looking[name]

    def _build(self) -> dict[str, Offer]:
        by_method: dict[str, list[tuple[str, Method]]] = {}
        for name, backend in self._backends.items():
            types = backend.registry.types
            for service in backend.registry.services:
                for method in types.methods_of(service):
                    if self._rules[name].offers(method):
                        by_method.setdefault(method.full_name, []).append((name, method))
        names_of = tool_names([found[0][1] for found in by_method.values()], self._reserved)
        offers = [self._offer(names_of[name], found) for name, found in by_method.items()]
        return {offer.name: offer for offer in sorted(offers, key=lambda offer: offer.name)}

    def _offer(self, name: str, found: list[tuple[str, Method]]) -> Offer:
        backend, method = found[0]
        return Offer(
            name,
            method,
            tuple(backend for backend, _ in found),
            self._backends[backend].registry.types,
            _most_cautious(self._rules[each].hints_of(own) for each, own in found),
            tuple(each for each, _ in found if self._rules[each].confirms(method.path)),
        )


def _most_cautious(hints: Iterable[Hints]) -> Hints:
    """Return what holds wherever a method is called: one backend's hints must not vouch for all."""
    each = tuple(hints)
    destroys = {hint.destroys for hint in each}
    return Hints(
        all(hint.reads for hint in each),
        True if True in destroys else None if None in destroys else False,
        all(hint.idempotent for hint in each),
    )


def _path(full_name: str) -> str:
    service, _, name = full_name.rpartition(".")
    return f"{service}/{name}"


def tool_names(methods: Iterable[Method], reserved: frozenset[str]) -> dict[str, str]:
    """Return a name for each method's full name: the RPC's in snake_case, if that is its alone.

    Else its service stands in front, then its version too, then all. A name that is longer than
    `MAX_NAME` loses its beginning, and a hash of the full name makes it its own.
    """
    names: dict[str, str] = {}
    taken = set(reserved)
    remaining = list(methods)
    for form in _FORMS:
        claims: dict[str, list[Method]] = {}
        for method in remaining:
            claims.setdefault(_shortened(form(method), method), []).append(method)
        remaining = []
        for name, claimants in claims.items():
            if len(claimants) == 1 and name and name not in taken:
                names[claimants[0].full_name] = name
                taken.add(name)
            else:
                remaining.extend(claimants)
    for method in remaining:
        names[method.full_name] = _hashed(_by_full_name(method), method)
    return names


def _by_method(method: Method) -> str:
    return "_".join(method.words)


def _by_service(method: Method) -> str:
    return "_".join((*snake_words(method.service.rpartition(".")[2]), *method.words))


def _by_version(method: Method) -> str:
    package = method.service.rpartition(".")[0].rpartition(".")[2]
    return "_".join(filter(None, (package.lower(), _by_service(method))))


def _by_full_name(method: Method) -> str:
    return "_".join((_NOT_IN_A_NAME.sub("_", method.service).lower(), *method.words))


_FORMS: Final[tuple[Callable[[Method], str], ...]] = (
    _by_method,
    _by_service,
    _by_version,
    _by_full_name,
)


def _shortened(name: str, method: Method) -> str:
    return name if len(name) <= MAX_NAME else _hashed(name, method)


def _hashed(name: str, method: Method) -> str:
    """Return what says most of a name, the RPC's part of it, and a hash."""
    digest = hashlib.sha256(method.full_name.encode()).hexdigest()[:_HASH_LENGTH]
    room = MAX_NAME - _HASH_LENGTH - 1
    own = _by_method(method)
    if len(own) > room:
        kept = own[:room].rstrip("_")
    elif len(name) > room:
        # From a whole word on; the RPC's own words are all in it.
        kept = name[-room:].partition("_")[2] if len(own) < room else own
    else:
        kept = name
    return f"{kept}_{digest}"
