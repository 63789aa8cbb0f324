"""Sets up the log of a process, which goes to stderr."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from lro_gateway.config.logs import LogsConfig
from lro_gateway.serving.log_lines import JsonFormatter, TextFormatter
from lro_gateway.serving.log_writer import LogWriter

_QUIET: Final = ("mcp", "httpx2", "uvicorn.error")
"""The loggers of libraries of which the log has only warnings and errors, unless it has all."""


def configure_logging(settings: LogsConfig) -> None:
    """Log to stderr, because stdout may carry MCP messages. Python's warnings go there too."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    formatter = JsonFormatter() if settings.format == "json" else TextFormatter()
    # Python has no stderr if it was closed when the process started. Then the first open file would
    # get its number, and libraries that write to stderr would write to that file.
    null = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else None
    handler = LogWriter(sys.stderr.fileno() if null is None else null, formatter)
    # No line names them, and each record takes time to find them out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    if level > logging.DEBUG:
        for name in _QUIET:
            logging.getLogger(name).setLevel(max(level, logging.WARNING))


def flush_log() -> None:
    """Wait for the reader of the log, for at most a second, before other text goes to stderr."""
    for handler in logging.getLogger().handlers:
        handler.flush()
