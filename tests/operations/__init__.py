"""Tests of lro_gateway.operations."""
