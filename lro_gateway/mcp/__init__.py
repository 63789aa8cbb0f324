"""The MCP face: operations as tools, over Streamable HTTP and stdio."""
