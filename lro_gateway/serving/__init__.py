"""Serves an open gateway: the application, its guard, the HTTP server and the workers."""
