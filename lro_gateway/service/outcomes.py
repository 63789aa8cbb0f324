"""The log of calls that change something, with the outcome of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lro_gateway.access.policy import Verb
from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError, code_name
from lro_gateway.log_context import KEEP

# These lines have always had this name, by which operators may select them.
logger: Final = logging.getLogger("lro_gateway.service.service")


@contextmanager
def logged(verb: Verb, target: str, backend: Backend) -> Iterator[None]:
    """Log a call that changes something, with the code of its outcome, when it ends.

    Of starts only errors are logged here, because other lines name the operations that began.
    """
    outcome, begun = Code.CANCELLED.name, time.perf_counter()
    try:
        yield
        outcome = Code.OK.name
    except StatusError as error:
        outcome = code_name(error.status.code)
        raise
    finally:
        if verb is not Verb.START or outcome not in {Code.OK.name, Code.CANCELLED.name}:
            seconds = time.perf_counter() - begun
            logger.info(
                "%s of %s on %s: %s after %.3f s",
                *(verb.value, target, backend.name, outcome, seconds),
                extra=KEEP,
            )
