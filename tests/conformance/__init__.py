"""The official conformance suite of MCP, run against the gateway's server."""
