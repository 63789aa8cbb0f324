"""What MCP clients follow: resources, subscriptions, sessions."""
