"""Leaves out the tests of gcloud where it is not installed, since no package registry has it."""

from __future__ import annotations

from tests.googleapis.gcloud import COMMAND

collect_ignore = [] if COMMAND else ["test_gcloud.py"]
