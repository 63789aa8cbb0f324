"""The parts that commands share to show operations to a person at a terminal, or to a script."""
