"""Runs gcloud, which is Google's own command line, against a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COMMAND: Final = shutil.which("gcloud")
"""The path of gcloud, or None where it is not installed: no registry of the project has it."""


@dataclass(frozen=True)
class Gcloud:
    """gcloud with a configuration of its own, which sends the calls of `apis` to a gateway."""

    url: str
    directory: Path
    apis: tuple[str, ...]

    async def __call__(self, *arguments: str) -> Any:
        """Run a command, which must succeed; return its output, parsed as JSON."""
        process = await asyncio.create_subprocess_exec(
            str(COMMAND),
            *arguments,
            "--format=json",
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode()
        return json.loads(output) if output.strip() else None

    def _environment(self) -> dict[str, str]:
        token = self.directory / "token"
        token.write_text("none")
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.url}/" for api in self.apis}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "CLOUDSDK_CONFIG": str(self.directory),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CORE_PROJECT": "p",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            **overrides,
        }
