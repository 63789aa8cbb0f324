"""Unique tool names for methods, in a form that every MCP client accepts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

from lro_gateway.background import Steps, completed
from lro_gateway.descriptors.methods import Method, snake_words

MAX_NAME: Final = 64
"""The longest tool name that every MCP client accepts, in characters."""

_HASH_LENGTH: Final = 8
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_]")


def tool_names(methods: Iterable[Method], reserved: frozenset[str]) -> dict[str, str]:
    """Return a unique tool name for each method, by the method's full name.

    The name is the RPC's name in snake_case, such as `create_database`. If several methods share
    it, their service is put in front. If they still share it, their version is added, and then the
    full package. A name longer than `MAX_NAME` is shortened at its beginning, and gets a hash of
    the method's full name at its end.
    """
    return completed(naming(methods, reserved))


def naming(methods: Iterable[Method], reserved: frozenset[str]) -> Steps[dict[str, str]]:
    """Return the steps of `tool_names`."""
    names: dict[str, str] = {}
    taken = set(reserved)
    remaining = list(methods)
    for form in _FORMS:
        claims: dict[str, list[Method]] = {}
        for method in remaining:
            yield
            claims.setdefault(_shortened(form(method), method), []).append(method)
        remaining = []
        for name, claimants in claims.items():
            if len(claimants) == 1 and name and name not in taken:
                names[claimants[0].full_name] = name
                taken.add(name)
            else:
                remaining.extend(claimants)
    for method in remaining:
        names[method.full_name] = _hashed(_by_full_name(method), method)
    return names


def _by_method(method: Method) -> str:
    return "_".join(method.words)


def _by_service(method: Method) -> str:
    return "_".join((*snake_words(method.service.rpartition(".")[2]), *method.words))


def _by_version(method: Method) -> str:
    package = method.service.rpartition(".")[0].rpartition(".")[2]
    return "_".join(filter(None, (package.lower(), _by_service(method))))


def _by_full_name(method: Method) -> str:
    return "_".join((_NOT_IN_A_NAME.sub("_", method.service).lower(), *method.words))


_FORMS: Final[tuple[Callable[[Method], str], ...]] = (
    _by_method,
    _by_service,
    _by_version,
    _by_full_name,
)


def all_names(method: Method) -> frozenset[str]:
    """Return every name that a method's tool may have, whatever other methods there are."""
    names = {_shortened(form(method), method) for form in _FORMS}
    return frozenset(names | {_hashed(_by_full_name(method), method)})


def _shortened(name: str, method: Method) -> str:
    return name if len(name) <= MAX_NAME else _hashed(name, method)


def _hashed(name: str, method: Method) -> str:
    """Return a name of at most `MAX_NAME` characters: its most specific words, and a hash."""
    digest = hashlib.sha256(method.full_name.encode()).hexdigest()[:_HASH_LENGTH]
    room = MAX_NAME - _HASH_LENGTH - 1
    own = _by_method(method)
    if len(own) > room:
        kept = own[:room].rstrip("_")
    elif len(name) > room:
        # The kept part starts with a whole word, and holds all words of the RPC's name.
        kept = name[-room:].partition("_")[2] if len(own) < room else own
    else:
        kept = name
    return f"{kept}_{digest}"
