"""Credentials: what the gateway shows to a backend with each call."""
