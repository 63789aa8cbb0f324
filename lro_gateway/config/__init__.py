"""The configuration of a gateway."""
