"""MCP tools: the verbs, the methods of backends, and what a call of either needs."""
