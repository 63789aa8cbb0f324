"""The benchmark: the gateway beside the least that could do the same, in one run."""
