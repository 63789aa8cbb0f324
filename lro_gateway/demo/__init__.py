"""A gRPC service with long-running operations over SQLite files: the backend to try things on.

It stands on its own: nothing here knows of the gateway.
"""
