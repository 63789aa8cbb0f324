"""The only code that speaks gRPC to a service."""
