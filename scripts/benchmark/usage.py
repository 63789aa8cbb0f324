"""What a process has used, as Linux tells it in /proc, None elsewhere; and what it may use."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Final

_RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


def resident_mb(pid: int) -> float | None:
    """Return the resident memory in megabytes of 2**20 bytes."""
    status = _read(pid, "status")
    found = _RESIDENT.search(status) if status else None
    return int(found.group(1)) / 1024 if found else None


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time of all threads so far."""
    stat = _read(pid, "stat")
    if stat is None:
        return None
    # The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow_files(number: int) -> None:
    """Raise the limit of open files of this process and those that it starts, where it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read(pid: int, name: str) -> str | None:
    file = Path(f"/proc/{pid}/{name}")
    return file.read_text() if file.exists() else None
