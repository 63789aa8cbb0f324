"""The MCP tools of google.longrunning.Operations and of the backends' methods."""
