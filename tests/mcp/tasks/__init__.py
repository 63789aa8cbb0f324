"""Tests of tasks, on both wires."""
