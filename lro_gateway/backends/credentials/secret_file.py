"""A secret in a file, which another program may replace at any time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

logger: Final = logging.getLogger(__name__)


class SecretFile:
    """The secret in a file. While the file cannot be used, the last secret is.

    `first` is the secret that the file had when the configuration was read.
    """

    def __init__(self, file: Path, first: str) -> None:
        self._file = file
        self._last = first

    def get_secret_value(self) -> str:
        """Read the file, and return the secret without the line breaks at its end.

        It is read for each token, because the request for the token costs far more than the read.
        """
        try:
            text = self._file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("%s cannot be read, so its last secret is used: %s", self._file, error)
            return self._last
        self._last = text or self._last
        return self._last
