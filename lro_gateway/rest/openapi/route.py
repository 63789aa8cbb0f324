"""The route `/openapi.json`, which divides the document of many methods into parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.access.policy import Verb
from lro_gateway.errors import Code, invalid_argument, quote, status_error
from lro_gateway.operations.rendering import JsonText
from lro_gateway.principal import Principal
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.method_routes import MethodRoutes
from lro_gateway.rest.openapi.document import describing
from lro_gateway.rest.openapi.security import secured
from lro_gateway.rest.parameters import DEFAULT_FORM, own_parameters
from lro_gateway.rest.responses import tagged_response, text_response
from lro_gateway.rest.route_table import RouteTable
from lro_gateway.service.catalog import Offer
from lro_gateway.service.service import OperationService

MAX_METHODS: Final = 1_000
"""The maximum number of methods that one document describes."""

_CACHED: Final = 32 * 1024 * 1024
"""The maximum total size of the kept documents in bytes."""
PARAMETERS: Final = ("backend", "package", "part")
"""The parameters of the query that choose a part of the document."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the document: the methods of one package on one backend, or a share of them.

    `number` counts the parts of a package from 1. It is 0 if the package has one part.
    """

    backend: str
    package: str
    number: int
    methods: int

    @property
    def query(self) -> str:
        """The query of the part's address."""
        query = {"backend": self.backend, "package": self.package}
        return urlencode({**query, "part": self.number} if self.number else query)

    @property
    def title(self) -> str:
        """The part's name for readers."""
        share = f", part {self.number}" if self.number else ""
        return f"{self.package or '(no package)'} of {self.backend}{share}"


class OpenApiRoute:
    """The route `/openapi.json`. If the offered methods change, it makes new documents.

    `resources` returns FastAPI's document of its own routes, which each document includes.
    `schemes` are the kinds of credentials that callers need.
    """

    def __init__(
        self,
        service: OperationService,
        methods: MethodRoutes,
        version: str,
        resources: Callable[[], Mapping[str, Any]],
        schemes: tuple[str, ...] = (),
    ) -> None:
        self._service = service
        self._methods = methods
        self._version = version
        self._resources = resources
        self._schemes = schemes
        self._table: RouteTable | None = None
        self._texts: LRUCache[tuple[Any, ...], JsonText] = LRUCache(
            _CACHED, lambda text: len(text.content)
        )
        self._making = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Return the one route as a list, so that an application can add it to its routes."""
        return [Route("/openapi.json", self.document)]

    async def document(self, request: Request) -> Response:
        """Return the document of the methods that the caller may see now, or of a part of them.

        The parameters `backend`, `package` and `part` of the query choose the methods. If there are
        more than `MAX_METHODS`, the document has links to its parts.
        """
        caller = caller_of(request)
        table = await self._methods.table()
        offers = await self._service.offers(caller, of=())
        backends = self._service.backend_names(caller)
        given, presentation = own_parameters(request, PARAMETERS)
        query = {name: given.get(name) for name in PARAMETERS}
        # The address "." is relative to the address of the document.
        server = request.scope.get("root_path") or "."
        on = () if offers is self._methods.offers else tuple(e.backends for e in offers.values())
        verbs = frozenset(verb for verb in Verb if self._service.views.may_ever(caller, verb))
        key = (backends, tuple(offers), on, verbs, *query.values(), server)
        async with self._making:
            if table is not self._table:
                self._texts.clear()
                self._table = table
            text = self._texts.get(key)
            if text is None:
                text = await self._text(caller, (backends, verbs), table, offers, query, server)
                if len(text.content) <= _CACHED:
                    self._texts[key] = text
        if presentation is not DEFAULT_FORM:
            return tagged_response(request, orjson.loads(text.content), presentation)
        return text_response(request, text)

    async def _text(
        self,
        caller: Principal,
        allowed: tuple[tuple[str, ...], frozenset[Verb]],
        table: RouteTable,
        offers: Mapping[str, Offer],
        query: Mapping[str, str | None],
        server: str,
    ) -> JsonText:
        chosen = self._chosen(caller, offers, query)
        parts: list[Part] = []
        if len(chosen) > MAX_METHODS:
            parts = [*_parts(chosen.values(), query["backend"])]
            chosen = {}
        slices = self._service.catalog.slices
        backends, verbs = allowed
        document = await slices.run(
            describing(backends, self._version, self._resources(), table, chosen, verbs)
        )
        document = secured(document, self._schemes)
        if parts:
            document = _with_links(document, parts)
        return JsonText.of({**document, "servers": [{"url": server}]}, indented=False)

    def _chosen(
        self, caller: Principal, offers: Mapping[str, Offer], query: Mapping[str, str | None]
    ) -> dict[str, Offer]:
        """Return the offers that the query chooses. Raises an error if it chooses none."""
        backend, package, part = (query[name] for name in PARAMETERS)
        chosen = {
            name: offer
            for name, offer in offers.items()
            if (backend is None or backend in offer.backends)
            and (package is None or package == _package(offer))
        }
        if part is not None:
            if not (part.isascii() and part.isdecimal() and int(part[:9]) > 0):
                raise invalid_argument("part", f"{quote(part)} is not the number of a part")
            ordered = [*_ordered(chosen.values())]
            first = (int(part[:9]) - 1) * MAX_METHODS
            chosen = {offer.name: offer for offer in ordered[first : first + MAX_METHODS]}
        if not chosen and any(value is not None for value in query.values()):
            raise self._service.unreached(caller) or status_error(
                Code.NOT_FOUND,
                "no backend offers methods of this part; GET /openapi.json to see all parts",
                "NO_SUCH_DOCUMENT",
            )
        return chosen


def _package(offer: Offer) -> str:
    return offer.method.service.rpartition(".")[0]


def _ordered(offers: Iterable[Offer]) -> list[Offer]:
    return sorted(offers, key=lambda offer: offer.method.full_name)


def _parts(offers: Iterable[Offer], backend: str | None) -> Iterator[Part]:
    """Yield the parts of the document of these offers, each of at most `MAX_METHODS` methods."""
    counts: dict[tuple[str, str], int] = {}
    for offer in offers:
        for name in offer.backends if backend is None else (backend,):
            counts[name, _package(offer)] = counts.get((name, _package(offer)), 0) + 1
    for (name, package), count in sorted(counts.items()):
        if count <= MAX_METHODS:
            yield Part(name, package, 0, count)
            continue
        for number, first in enumerate(range(0, count, MAX_METHODS), 1):
            yield Part(name, package, number, min(MAX_METHODS, count - first))


def _with_links(document: dict[str, Any], parts: list[Part]) -> dict[str, Any]:
    """Add the addresses of the parts, and links for the readers of the page `/docs`."""
    lines = [f"- [{part.title}](./docs?{part.query}): {part.methods} methods" for part in parts]
    text = (
        "\n\nThe gateway offers more methods than one document can describe. Each of these"
        " documents describes a part of them:\n\n"
    )
    info = document["info"]
    described = info["description"] + text + "\n".join(lines)
    links = [
        {"name": part.title, "url": f"openapi.json?{part.query}", "methods": part.methods}
        for part in parts
    ]
    return {**document, "info": {**info, "description": described}, "x-documents": links}
