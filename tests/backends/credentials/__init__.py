"""Tests of lro_gateway.backends.credentials."""
