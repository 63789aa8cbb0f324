"""A gRPC service with long-running operations on SQLite files, for demonstrations and tests.

Nothing in this package imports the rest of the gateway.
"""
