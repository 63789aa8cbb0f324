"""Pages of a list (AIP-158): sizes, and tokens that fit only the list they came from."""

import base64
import hashlib
import json

from lro_gateway.demo.refusals import RefusedError, invalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 1000


def page_size(requested: int) -> int:
    """Return the size of a page: the default for 0, at most the largest, never negative."""
    if requested < 0:
        raise invalid("page_size", f"{requested} is negative", "INVALID_PAGE_SIZE")
    return min(requested or DEFAULT_SIZE, LARGEST_SIZE)


def token_after(last: str, *scope: str) -> str:
    """Return the token of the page that follows the item `last` of the list `scope`."""
    content = json.dumps([last, _fingerprint(scope)])
    return base64.urlsafe_b64encode(content.encode()).decode()


def last_before(token: str, *scope: str) -> str | None:
    """Return the item that a page follows, None for the first page."""
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
