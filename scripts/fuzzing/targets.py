"""All targets of fuzzing, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from scripts.fuzzing.access import conditions, tokens
from scripts.fuzzing.answers import http2_answers
from scripts.fuzzing.descriptor_sets import descriptor_sets
from scripts.fuzzing.names import names, templates
from scripts.fuzzing.payloads import any_bytes, operations, protojson
from scripts.fuzzing.requests import headers, json_rpc
from scripts.fuzzing.tokens import page_tokens, task_ids

Target = Callable[[bytes], None]
"""Takes an input. Raises any exception if the gateway does not handle the input as it should."""

TARGETS: Final[Mapping[str, Target]] = {
    each.__name__: each
    for each in (
        names,
        templates,
        page_tokens,
        task_ids,
        protojson,
        any_bytes,
        operations,
        descriptor_sets,
        http2_answers,
        json_rpc,
        headers,
        tokens,
        conditions,
    )
}

CORPUS: Final = Path(__file__).parents[2] / "tests" / "fuzz" / "corpus"
"""The inputs that each target has read before, in one folder for each target."""
