"""Tests of the tools of the MCP face."""
