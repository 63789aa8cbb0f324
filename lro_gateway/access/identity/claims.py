"""The parts of a caller that the claims of a verified token have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from lro_gateway.principal import Principal

Claims = Mapping[str, Any]
"""The claims of a token, as JSON."""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The claims that hold each part of a `Principal`.

    A name may be a path through nested objects, such as `realm_access.roles`. Of several names of
    one text, the first that the token has counts. The groups and scopes of all their names count.
    """

    subject: tuple[str, ...] = ("sub",)
    tenant: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("groups",)
    scopes: tuple[str, ...] = ("scope", "scp")
    client: tuple[str, ...] = ("client_id", "azp")

    def principal(
        self, claims: Claims, *, issuer: str, expires: float, token: str = ""
    ) -> Principal:
        """Return the principal of a token that is valid until `expires`.

        Raises `ValueError` if the token has no subject, or a claim has an unusable value. The text
        of the error has only names of claims.
        """
        subject = _text(claims, self.subject)
        if not subject:
            raise ValueError(f"has no claim {' or '.join(self.subject)}, which tells the subject")
        return Principal(
            subject,
            issuer,
            _text(claims, self.tenant),
            groups=frozenset(_texts(claims, self.groups)),
            scopes=frozenset(_texts(claims, self.scopes)),
            client=_text(claims, self.client),
            expires=expires,
            token=SecretStr(token),
        )


def find_claim(claims: Claims, path: str) -> Any:
    """Return the value at a path, or None if there is none.

    The name of a claim may itself have dots, such as `https://acme.example/org`.
    """
    if path in claims:
        return claims[path]
    end = path.find(".")
    while end >= 0:
        inner = claims.get(path[:end])
        if isinstance(inner, Mapping):
            found = find_claim(inner, path[end + 1 :])
            if found is not None:
                return found
        end = path.find(".", end + 1)
    return None


def _text(claims: Claims, names: Iterable[str]) -> str:
    for name in names:
        value = find_claim(claims, name)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise ValueError(f"has a claim {name} that is not text")
    return ""


def _texts(claims: Claims, names: Iterable[str]) -> Iterable[str]:
    """Yield the texts of lists, and the words of texts that are separated by blanks."""
    for name in names:
        value = find_claim(claims, name)
        if isinstance(value, str):
            yield from value.split()
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            yield from value
        elif value is not None:
            raise ValueError(f"has a claim {name} that is neither text nor a list of texts")
