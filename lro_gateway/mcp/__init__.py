"""The MCP face of the gateway. It offers operations as tools, over Streamable HTTP and stdio."""
