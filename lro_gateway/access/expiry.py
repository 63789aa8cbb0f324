"""The end of a caller's credentials during a wait or a stream."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final

from lro_gateway.access.identity.refusals import token_expired
from lro_gateway.principal import Principal

_NEVER: Final = nullcontext()


def until_expiry(caller: Principal) -> AbstractAsyncContextManager[None]:
    """Return a context that ends its body when the credentials of the caller end.

    It then raises UNAUTHENTICATED with the reason TOKEN_EXPIRED.
    """
    return _NEVER if math.isinf(caller.expires) else _until(caller.expires)


@asynccontextmanager
async def _until(expires: float) -> AsyncIterator[None]:
    limit = asyncio.timeout_at(asyncio.get_running_loop().time() + expires - time.time())
    try:
        async with limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise token_expired() from None
        raise
