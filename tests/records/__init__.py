"""Tests of lro_gateway.records."""
