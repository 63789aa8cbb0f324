"""The budget of a model for the tools of methods, and whether the tools keep to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types
import orjson

from lro_gateway.background import Steps
from lro_gateway.descriptors.tool_schema import tool_schema
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.service.catalog import Offer

TOOL_BUDGET: Final = 10_000
"""The default budget, in tokens. 0 means no limit."""
_BYTES_OF_TOKEN: Final = 4
"""The number of bytes of JSON for which one token is counted. Each model has its own tokens."""


def tokens(tool: types.Tool) -> float:
    """Return how many tokens of a model a tool takes: its name, description and input schema."""
    return _tokens(tool.name, tool.description, tool.input_schema)


def exceeds(offers: Iterable[Offer], budget: int) -> Steps[bool]:
    """Return the steps that tell whether the tools of methods take more tokens than a budget.

    The steps end as soon as the budget is exceeded. First they count only names and the schemas
    without descriptions, because to read the comments of many methods takes long. So the comments
    are read only if the rest takes at most the budget.
    """
    offers = tuple(offers)
    left: float = budget
    for offer in offers:
        yield
        left -= _least_tokens(offer)
        if left < 0:
            return True
    left = budget
    for offer in offers:
        yield from offer.types.reading_comments()
        yield
        try:
            left -= tokens(MethodTool(offer).tool)
        except Exception:  # noqa: BLE001, S112 - the list of tools logs it, and leaves the tool out
            continue
        if left < 0:
            return True
    return False


def _least_tokens(offer: Offer) -> float:
    try:
        return _tokens(offer.name, tool_schema(offer.method.request, descriptions={}, quoted=False))
    except Exception:  # noqa: BLE001 - the list of tools logs it, and leaves the tool out
        return 0


def _tokens(*parts: Any) -> float:
    return len(orjson.dumps(parts)) / _BYTES_OF_TOKEN
