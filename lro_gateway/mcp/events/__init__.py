"""MCP Events: the extension io.modelcontextprotocol/events (SEP-3415)."""
