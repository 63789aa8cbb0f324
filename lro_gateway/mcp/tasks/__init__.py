"""MCP Tasks on both wires."""
