"""Notifications to MCP clients: resources, subscriptions, and sessions."""
