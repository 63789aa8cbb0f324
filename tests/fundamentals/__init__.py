"""The gateway, chapter by chapter: read the files in the order of their numbers."""
