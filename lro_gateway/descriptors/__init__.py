"""Descriptors of protobuf messages: their sources, one pool for each backend, and ProtoJSON."""
