"""The process that fuzzes one target.

The arguments are the target, the folder for inputs that are faults, the time in seconds, and the
options of libFuzzer. The time includes the start of the process, which is slow because the code is
instrumented.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from pathlib import Path
from typing import Final

import atheris

_STARTED: Final = time.monotonic()

with atheris.instrument_imports(include=["lro_gateway"]):
    from scripts.fuzzing.targets import Target, target

    TARGET: Final = target(sys.argv[1])


def keeping(chosen: Target, found: Path) -> Target:
    """Return the target that also writes an input to a file if it raises.

    libFuzzer does so too, but not if one of its signals ends the process first.
    """

    def kept(data: bytes) -> None:
        try:
            chosen(data)
        except Exception:
            (found / f"fault-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            raise

    return kept


if __name__ == "__main__":
    logging.disable()
    program, _, folder, seconds, *options = sys.argv
    remaining = max(1, int(float(seconds) - (time.monotonic() - _STARTED)))
    timed = [program, f"-max_total_time={remaining}", *options]
    atheris.Setup(timed, keeping(TARGET, Path(folder)))
    atheris.Fuzz()
