"""Backends: the only code that makes gRPC calls to a service."""
