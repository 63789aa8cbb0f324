"""All targets of fuzzing, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

Target = Callable[[bytes], None]
"""Takes an input. Raises any exception if the gateway does not handle the input as it should."""

TARGETS: Final[Mapping[str, str]] = {
    "names": "names",
    "templates": "names",
    "page_tokens": "tokens",
    "task_ids": "tokens",
    "protojson": "payloads",
    "any_bytes": "payloads",
    "operations": "payloads",
    "descriptor_sets": "descriptor_sets",
    "http2_answers": "answers",
    "json_rpc": "requests",
    "headers": "requests",
    "tokens": "access",
    "proxy_headers": "access",
    "conditions": "access",
}
"""The module of each target. A process imports only its own, because instrumented code is slow."""

CORPUS: Final = Path(__file__).parents[2] / "tests" / "fuzz" / "corpus"
"""The inputs that each target has read before, in one folder for each target."""


def target(name: str) -> Target:
    """Return the target of this name."""
    module = importlib.import_module(f"scripts.fuzzing.{TARGETS[name]}")
    return cast("Target", getattr(module, name))
