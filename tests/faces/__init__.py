"""Tests that run on several faces, or through a real client of one face."""
