"""An introduction to the gateway in chapters. Read the files in the order of their numbers."""
