"""Gives each target the inputs of its corpus: `python -m scripts.fuzzing.replay`."""

from __future__ import annotations

import logging
import sys

from scripts.fuzzing.targets import CORPUS, TARGETS, target

if __name__ == "__main__":
    logging.disable()
    for name in TARGETS:
        read = target(name)
        inputs = sorted((CORPUS / name).iterdir())
        for each in inputs:
            try:
                read(each.read_bytes())
            except Exception:
                sys.stderr.write(f"{each}\n")
                raise
        sys.stdout.write(f"{name}: {len(inputs)} inputs\n")
