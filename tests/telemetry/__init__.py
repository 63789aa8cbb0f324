"""Tests of `lro_gateway.telemetry`."""
