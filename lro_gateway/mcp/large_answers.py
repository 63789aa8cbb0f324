"""Answers that fit a model's context: a longer one is cut to its shape, and links to the whole.

The whole is a resource. An operation has a resource in any case. The gateway keeps the JSON of
every other long answer for a while.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import mcp_types as types
import orjson

from lro_gateway.mcp.answers import Answer, Printable, json_text
from lro_gateway.mcp.cutting import ANSWER_BYTES, Shape, named, shape_of
from lro_gateway.mcp.kept_answers import KeptAnswers
from lro_gateway.mcp.operation_uris import uri_of
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService

SHAPE_BYTES: Final = 4000
"""About the longest JSON of a cut answer. The result has it twice, and the words beside it."""
PART: Final = 20_000
"""The number of characters of a part in the words of a cut answer."""
_LINKS_SINCE: Final = "2025-06-18"
"""The first revision of MCP whose results may have links to resources."""
_JSON_PER_BYTE: Final = 64
"""The JSON of a message is hardly ever longer than so many times the message itself."""


class LargeAnswers:
    """Cuts long answers, and keeps the whole of those that are no operation in `kept`.

    `limit` is the longest JSON in bytes that is not cut. If `links` is false, the URI of the whole
    is only in the words of an answer, because some agent frameworks fail on a link.
    """

    def __init__(
        self,
        service: OperationService,
        kept: KeptAnswers,
        limit: int = ANSWER_BYTES,
        *,
        links: bool = True,
    ) -> None:
        self._service = service
        self._kept = kept
        self._limit = limit
        self._links = links

    async def fit(
        self, caller: Principal | None, answer: Answer, version: str | None = None
    ) -> Answer:
        """Return the answer, or its shape with a link if its JSON is too long.

        `caller` may be None if the answer is an operation, whose whole is a resource of its own.
        `version` is the revision of MCP that the client speaks.
        """
        source, value = answer.source, answer.structured
        if source is None or source.size * _JSON_PER_BYTE <= self._limit:
            return answer
        size = await source.run(lambda: len(orjson.dumps(value)))
        if size <= self._limit:
            return answer
        room = min(SHAPE_BYTES, self._limit)
        shape = await source.run(lambda: shape_of(value, room))
        uri = await self._uri(caller, answer, source)
        # A second call of a start would start another operation.
        again = "get_operation" if isinstance(source, Operation) and source.name else "again"
        link = types.ResourceLink(
            uri=uri, name="whole answer", mime_type="application/json", size=size
        )
        knows_links = version is None or version >= _LINKS_SINCE
        return replace(
            answer,
            structured=shape.value,
            text=f"{answer.text} {_words(shape, size, uri, again)}",
            blocks=(link,) if self._links and knows_links else (),
        )

    async def _uri(self, caller: Principal | None, answer: Answer, source: Printable) -> str:
        """Return the URI of the whole. It is kept unless it is an operation, which has a URI."""
        if isinstance(source, Operation) and source.name:
            return uri_of(self._service, source)
        value = answer.structured
        return await self._kept.keep(caller, await source.run(lambda: json_text(value)))


def _words(shape: Shape, size: int, uri: str, again: str) -> str:
    example = f' such as "{shape.path}"' if shape.path else ""
    return (
        f"The answer is cut, because its JSON has {size} bytes: {named(shape.cuts)}. To read more,"
        f" call {again} with fields{example}, or read the resource {uri} in parts, such as"
        f" {uri}?offset=0&limit={PART} (in characters of its JSON)."
    )
