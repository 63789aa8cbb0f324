"""lro-gateway: gRPC long-running operations as MCP tools and as a REST mirror."""

import os

__version__ = "0.1.0"
"""The version, which the build reads here. To look it up takes 0.1 s at each start."""

# gRPC's own log has a line for every connection that ends, and the gateway logs the failures that
# matter. gRPC reads this variable when it is imported, so it is set before any import of gRPC.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
