"""The benchmark: it measures the gateway beside minimal servers that do the same work."""
