"""Tests of lro_gateway.service."""
