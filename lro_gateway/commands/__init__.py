"""The commands of `lro-gateway`: serve, check and demo."""
