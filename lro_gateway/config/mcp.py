"""The table `[mcp]`: what MCP clients see of the tools."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lro_gateway.config.tables import Table
from lro_gateway.mcp.cutting import ANSWER_BYTES
from lro_gateway.mcp.tools.tool_budget import TOOL_BUDGET


class McpConfig(Table):
    """The settings of the MCP face.

    `output_schemas` tells how much the output schema of a method that returns an Operation says of
    the payloads: that they are objects, or all that the payload types declare. `tool_budget` is the
    number of tokens that the listed tools of methods may take, or 0 if it is not limited. A result
    whose JSON has more than `answer_bytes` is cut, and links to the whole if `resource_links` is
    true.
    """

    output_schemas: Literal["short", "full"] = "short"
    tool_budget: int = Field(default=TOOL_BUDGET, ge=0, strict=True)
    answer_bytes: int = Field(default=ANSWER_BYTES, ge=8192, le=2**20, strict=True)
    resource_links: bool = True
