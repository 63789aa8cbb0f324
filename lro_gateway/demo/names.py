"""Resource names: `databases/*`, `databases/*/backups/*` and `databases/*/operations/*`."""

import re
import uuid

from lro_gateway.demo.refusals import invalid

_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OPERATION = re.compile(r"databases/[a-z0-9-]+/operations/[a-z0-9-]+")


def is_id(text: str) -> bool:
    """Return whether `text` can be the id of a database or of a backup."""
    return _ID.fullmatch(text) is not None


def require_id(field: str, text: str) -> str:
    """Return `text`, or raise INVALID_ARGUMENT if it cannot be the id of a new resource."""
    if not is_id(text):
        raise invalid(
            field,
            f"{text!r} is not 1 to 63 lower-case letters, digits and hyphens that begin with "
            "a letter and do not end with a hyphen",
            "INVALID_ID",
        )
    return text


def database_name(database_id: str) -> str:
    """Return the name of a database."""
    return f"databases/{database_id}"


def database_id(field: str, name: str) -> str:
    """Return the id in the name of a database, or raise INVALID_ARGUMENT."""
    collection, _, identifier = name.partition("/")
    if collection != "databases" or not is_id(identifier):
        raise invalid(field, f"{name!r} is not of the form databases/*", "INVALID_NAME")
    return identifier


def new_operation_name(parent: str) -> str:
    """Return an unguessable name for an operation on `parent`."""
    return f"{parent}/operations/{uuid.uuid4().hex}"


def require_operation(name: str) -> str:
    """Return `name`, or raise INVALID_ARGUMENT if it cannot be the name of an operation."""
    if not _OPERATION.fullmatch(name):
        raise invalid(
            "name", f"{name!r} is not of the form databases/*/operations/*", "INVALID_NAME"
        )
    return name


def require_request_id(text: str) -> str:
    """Return `text` in lower case, or raise INVALID_ARGUMENT unless it is empty or a UUID4."""
    try:
        well_formed = not text or uuid.UUID(text).version == 4
    except ValueError:
        well_formed = False
    if not well_formed:
        raise invalid("request_id", f"{text!r} is not a version 4 UUID", "INVALID_REQUEST_ID")
    return text.lower()
