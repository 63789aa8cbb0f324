"""The neighbourhood of scripts/chaos: clients, backends and a machine that fail under load."""
