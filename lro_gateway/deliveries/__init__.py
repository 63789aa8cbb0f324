"""Deliveries: events of operations, and the webhooks that get them."""
