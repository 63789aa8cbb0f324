"""Tests of what is told while it happens: resources, subscriptions, sessions."""
