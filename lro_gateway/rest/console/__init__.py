"""The page at `/`, which shows the operations to a person with a browser."""
