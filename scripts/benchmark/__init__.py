"""The benchmark: it measures the gateway beside the least that could do the same."""
