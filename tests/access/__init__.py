"""Tests of lro_gateway.access."""
