"""Notifications to MCP clients about changes of tasks, resources and tools."""
