"""How soon many methods are tools: their schemas made, and listed over MCP by a gateway."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import orjson

from lro_gateway.mcp.tools.verb_tools import TOOLS
from scripts.benchmark.answers import WrongAnswerError
from scripts.benchmark.exchange import Exchange
from scripts.benchmark.http1 import mcp_message
from scripts.benchmark.processes import gateway_to, program
from scripts.benchmark.services import METHODS, write_descriptors

FIRST_TARGET_SECONDS: Final = 2.0
_LATER: Final = 3
"""How often a gateway is asked again; the median counts."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Each time: seconds to make all schemas, and to list all tools first and later.

    The schemas are made in a process that has nothing else to do. The first list of a gateway finds
    the methods and makes their schemas; later ones come from memory.
    """

    methods: int
    kilobytes_of_schema: float
    schemas: tuple[float, ...]
    first: tuple[float, ...]
    later: tuple[float, ...]

    @property
    def reached(self) -> bool:
        """Whether the target of the first list is."""
        return median(self.first) <= FIRST_TARGET_SECONDS

    @property
    def of_first(self) -> tuple[float, ...]:
        """What share of the first list a later one takes, each time."""
        pairs = zip(self.later, self.first, strict=True)
        return tuple(later / first for later, first in pairs)


async def measure_listing(times: int) -> Listing:
    """Take turns: schemas in a process of their own, then lists of a new gateway."""
    schemas, first, later = [], [], []
    kilobytes = 0.0
    with tempfile.TemporaryDirectory(prefix="lro-gateway-bench-") as directory:
        descriptors = write_descriptors(Path(directory))
        async with program("backend") as backend, program("schemas", str(descriptors)) as maker:
            for _ in range(times):
                made = await maker.ask()
                schemas.append(made["seconds"])
                kilobytes = made["bytes"] / made["tools"] / 1024
                async with gateway_to([backend.served.address], descriptors) as running:
                    first.append(await _list(running.address))
                    later.append(median([await _list(running.address) for _ in range(_LATER)]))
    return Listing(METHODS, kilobytes, tuple(schemas), tuple(first), tuple(later))


async def _list(address: str) -> float:
    """Return the seconds that all pages of `tools/list` take; checks that all methods are there."""
    listed: set[str] = set()
    begin = time.perf_counter()
    async with Exchange.open(address) as exchange:
        cursor: str | None = ""
        while cursor is not None:
            params = {"cursor": cursor} if cursor else {}
            answer = await exchange.ask(mcp_message(address, "tools/list", params))
            result = orjson.loads(answer.body).get("result")
            if not result:
                raise WrongAnswerError(answer.body.decode())
            listed.update(tool["name"] for tool in result["tools"])
            cursor = result.get("nextCursor")
    seconds = time.perf_counter() - begin
    if len(listed) != len(TOOLS) + METHODS:
        raise WrongAnswerError(f"{len(listed)} tools in the list")
    return seconds
