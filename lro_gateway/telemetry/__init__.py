"""The metrics of the gateway, and the spans of its work."""
