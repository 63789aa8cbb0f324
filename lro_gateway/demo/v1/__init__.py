"""Generated from proto/lro_gateway/demo/v1."""
