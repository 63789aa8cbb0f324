"""lro-gateway: gRPC long-running operations as MCP tools and as a REST mirror."""
