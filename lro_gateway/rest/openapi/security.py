"""The credentials that the OpenAPI document asks for."""

from __future__ import annotations

from typing import Any, Final

OPEN_PATHS: Final = ("/livez", "/readyz", "/healthz/operations")
"""The described paths that need no credentials."""
_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A JWT of an issuer that the gateway trusts, or a static token.",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate, which names the caller.",
    },
}


def secured(document: dict[str, Any], schemes: tuple[str, ...]) -> dict[str, Any]:
    """Return a document that asks for one of these schemes: `bearer` or `certificate`.

    Each call needs one of them. Without schemes, the document stays as it is.
    """
    if not schemes:
        return document
    paths = {
        path: {verb: {**operation, "security": []} for verb, operation in item.items()}
        if path in OPEN_PATHS
        else item
        for path, item in document["paths"].items()
    }
    described = {name: _SCHEMES[name] for name in schemes}
    return {
        **document,
        "paths": paths,
        "security": [{name: []} for name in schemes],
        "components": {**document["components"], "securitySchemes": described},
    }
