"""Tests of what the commands about operations share."""
