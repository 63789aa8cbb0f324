"""lro-gateway: gRPC long-running operations as MCP tools and as a REST mirror."""

import os

__version__ = "0.1.0"
"""The version, which the build reads here. To look it up takes 0.1 s at each start."""

# gRPC's own log tells of every connection that ends; what matters of it reaches our log. gRPC reads
# this when it is imported, so it stands before anything of the package that does.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
