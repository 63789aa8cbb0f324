"""The table `[mcp]`: what MCP clients see of the tools."""

from __future__ import annotations

from typing import Literal

from lro_gateway.config.tables import Table


class McpConfig(Table):
    """The settings of the MCP face.

    `output_schemas` tells how much the output schema of a method that returns an Operation says of
    the payloads: that they are objects, or all that the payload types declare.
    """

    output_schemas: Literal["short", "full"] = "short"
