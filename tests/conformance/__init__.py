"""The official conformance suite of MCP against the gateway's own server."""
