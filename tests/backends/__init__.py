"""Tests of lro_gateway.backends."""
