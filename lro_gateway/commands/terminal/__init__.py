"""What the commands share that show operations to a person at a terminal, or to a script."""
