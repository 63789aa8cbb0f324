"""Tests of descriptors, ProtoJSON and JSON Schema."""
