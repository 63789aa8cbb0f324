"""MCP tools: one for each verb of operations, and one for each method of the backends."""
