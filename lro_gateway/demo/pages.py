"""Pages of a list (AIP-158): their sizes, and tokens that are valid only for one list."""

import base64
import hashlib
import json

from lro_gateway.demo.refusals import RefusedError, invalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 1000


def page_size(requested: int) -> int:
    """Return the size of a page: `DEFAULT_SIZE` for 0, and at most `LARGEST_SIZE`.

    Raises INVALID_ARGUMENT if the requested size is negative.
    """
    if requested < 0:
        raise invalid("page_size", f"{requested} is negative", "INVALID_PAGE_SIZE")
    return min(requested or DEFAULT_SIZE, LARGEST_SIZE)


def token_after(last: str, *scope: str) -> str:
    """Return the token of the page after the item `last`; `scope` identifies the list."""
    content = json.dumps([last, _fingerprint(scope)])
    return base64.urlsafe_b64encode(content.encode()).decode()


def last_before(token: str, *scope: str) -> str | None:
    """Return the last item before the page of a token, or None for the first page.

    Raises INVALID_ARGUMENT if the token belongs to another list.
    """
    if not token:
        return None
    try:
        last, fingerprint = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError) as error:
        raise _foreign() from error
    if not isinstance(last, str) or fingerprint != _fingerprint(scope):
        raise _foreign()
    return last


def _fingerprint(scope: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(scope).encode()).hexdigest()[:16]


def _foreign() -> RefusedError:
    return invalid("page_token", "it is not a token of this list", "INVALID_PAGE_TOKEN")
