"""lro-gateway: gRPC long-running operations as MCP tools and as a REST mirror."""

import os

# gRPC's own log tells of every connection that ends; what matters of it reaches our log. gRPC reads
# this when it is imported, so it stands before anything of the package that does.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
