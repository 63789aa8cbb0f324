"""Tests of resources, and of the notifications to subscriptions and sessions."""
