"""MCP Tasks: the extension of 2026-07-28, and the core protocol of 2025-11-25."""
