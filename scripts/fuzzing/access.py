"""The targets of access: bearer tokens, headers of a proxy, and the conditions of rules."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import time
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from lro_gateway.access.arguments import TooLargeError, arguments_of
from lro_gateway.access.conditions import Condition, UnevaluableError, bind, compiled
from lro_gateway.access.identity.bearer import BearerTokens, VerifiedTokens
from lro_gateway.access.identity.issuers import Issuer
from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.access.identity.proxy_headers import HeaderNames, ProxyHeaders
from lro_gateway.access.resource import Resource
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import Principal
from scripts.fuzzing.checks import check, empty, text_of, types

_ISSUER: Final = "https://login.example.com"
_AUDIENCE: Final = "https://gateway.example.com"
_REFUSALS: Final = {Code.UNAUTHENTICATED, Code.INVALID_ARGUMENT, Code.UNAVAILABLE}
_DEADLINE: Final = timedelta(seconds=5)


class _Keys:
    """An issuer's JWKS with one key, as a source of keys."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        algorithm = jwt.get_algorithm_by_name("ES256")
        self._key = {**json.loads(algorithm.to_jwk(key.public_key())), "kid": "k", "use": "sig"}

    async def document(self) -> object:
        """Return the JWKS."""
        return {"keys": [self._key]}


class _Gateway:
    """What identifies the callers of a gateway that trusts one issuer."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._open())

    async def _open(self) -> None:
        tasks = await self._stack.enter_async_context(BackgroundTasks(_DEADLINE))
        keys = KeyCache(_ISSUER, _Keys(self.key), timedelta(hours=1), lambda: None, tasks)
        await keys.find("k", "ES256")
        issuer = Issuer(_ISSUER, keys, ("ES256",))
        self._tokens = BearerTokens([issuer], None, Resource(_AUDIENCE), VerifiedTokens())

    def identify(self, authorization: bytes) -> Principal | None:
        """Return the caller with this header, or None if its token is refused."""
        scope = {"query_string": b"", "headers": [(b"authorization", authorization)]}
        try:
            return self._runner.run(self._tokens.identify(scope))
        except StatusError as error:
            check(error.code in _REFUSALS, "a wrong token is a fault of the caller")
            check(not _shows(error.message, authorization), "no error shows a token")
            return None

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return a token of the issuer."""
        return jwt.encode(claims, self.key, algorithm="ES256", headers=header)


def _shows(message: str, authorization: bytes) -> bool:
    secret = authorization.partition(b" ")[2].decode("latin-1").strip()
    return len(secret) > _SHORT and secret in message


_SHORT: Final = 16


@cache
def _gateway() -> _Gateway:
    return _Gateway()


def tokens(data: bytes) -> None:
    """Send an input as a token, as the claims of a token of the issuer, and as a forged token.

    Only a token that the issuer has signed identifies a caller, and then the caller is its subject.
    """
    gateway = _gateway()
    check(gateway.identify(data) is None, "an input is no token of the issuer")
    check(gateway.identify(b"Bearer " + data) is None, "an input is no token of the issuer")
    first, _, second = data.partition(b"\n")
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "s", "nbf": now, "exp": now + 600}
    with suppress(ValueError, RecursionError):
        given = json.loads(first)
        if isinstance(given, dict):
            claims |= given
    try:
        token = gateway.signed({"kid": "k"}, claims)
    except (TypeError, ValueError, RecursionError, jwt.PyJWTError):
        return
    caller = gateway.identify(b"Bearer " + token.encode())
    if caller is not None:
        check(caller.subject == claims["sub"], "a caller is the subject of its token")
        check(caller.issuer == _ISSUER, "a caller is of the issuer that has signed")
        check(isinstance(claims["exp"], int | float), "a token has an end")
    head, body, signature = token.split(".")
    forged = _part(second) if second else _part(b'{"alg": "none"}')
    for changed in (
        f"{forged}.{body}.{signature}",
        f"{forged}.{body}.",
        f"{head}.{forged}.{signature}",
    ):
        if changed != token:
            check(gateway.identify(b"Bearer " + changed.encode()) is None, "a forgery is refused")


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


_CONDITIONS: Final = (
    "args.big < 100 && caller.tenant == 'data'",
    "args.word.matches('^(a+)+$')",
    "args.inner.inner.word == name || size(args.inners) > 2",
    "args.any['@type'].endsWith('Job') || args.free.a == 1.0",
    "args.inners.exists(x, x.inners.exists(y, y.word == 'w'))",
)


@cache
def _fixed() -> tuple[Condition, ...]:
    return tuple(compiled(each) for each in _CONDITIONS)


def conditions(data: bytes) -> None:
    """Compile an expression of an input, and evaluate it and others over a request of the rest.

    A wrong expression has a mistake with its place. A condition that has no value denies.
    """
    text, _, rest = data.partition(b"\0")
    request = empty("shapes.v1.Everything")
    with suppress(Exception):
        request.ParseFromString(rest)
    chosen = [*_fixed()]
    try:
        chosen.append(compiled(text_of(text)))
    except ValueError as error:
        check(str(error), "a mistake is described")
    try:
        args = arguments_of(request, types())
    except TooLargeError:
        return
    word = text.decode("utf-8", "replace")
    variables = {
        **{f"caller.{each}": word for each in ("subject", "issuer", "tenant", "client")},
        "caller.groups": [word],
        "caller.scopes": [word, "b"],
        "verb": "start",
        "backend": "b",
        "name": word,
        "method": "m.S/M",
        "args": args,
        **{f"hints.{each}": True for each in ("reads", "destructive", "idempotent")},
    }
    with suppress(UnevaluableError):
        bound = bind(variables)
        for each in chosen:
            with suppress(UnevaluableError):
                check(each.holds(bound) in (True, False), "a condition is true or false")


_PROXY: Final = "10.0.0.7"
_NETWORKS: Final = (ipaddress.ip_network("10.0.0.0/28"), ipaddress.ip_network("::1/128"))
_HEADERS: Final = HeaderNames("X-User", "X-Tenant", "X-Groups", "X-Scopes", "X-Client")


@cache
def _proxied() -> tuple[asyncio.Runner, ProxyHeaders]:
    return asyncio.Runner(), ProxyHeaders(_HEADERS, _NETWORKS, "proxy", 60.0)


def proxy_headers(data: bytes) -> None:
    """Send headers of a proxy, from the proxy and from the address in the first line of an input.

    Each further line is a header, whose name its first byte selects. Only the proxy names a caller,
    and the caller is who the one header says.
    """
    address, *lines = data.split(b"\n")
    names = [each.lower().encode() for each in _HEADERS.used]
    headers = [(names[line[0] % len(names)], line[1:]) for line in lines if line]
    subjects = [value for name, value in headers if name == names[0]]
    for peer in (_PROXY, text_of(address)):
        caller = _proxied_caller(peer, headers)
        if caller is None:
            continue
        check(_is_proxy(peer), "another address names no caller")
        check(len(headers) == len({name for name, _ in headers}), "no header is there twice")
        check(caller.subject == subjects[0].decode().strip(), "a caller is who the header says")
        check(caller.subject.isprintable(), "a subject can be printed")
        check(caller.issuer == "proxy", "a caller is of the proxy's issuer")
        said = b",".join(value for name, value in headers if name == names[2]).decode()
        check(all(group and group in said for group in caller.groups), "no group is made up")


def _proxied_caller(peer: str, headers: list[tuple[bytes, bytes]]) -> Principal | None:
    """Return the caller, or None if there is none or the request is refused."""
    runner, kind = _proxied()
    try:
        caller = runner.run(kind.identify({"client": (peer, 1), "headers": headers}))
    except StatusError as error:
        check(error.code is Code.UNAUTHENTICATED, "a wrong header is a fault of the caller")
        check(error.message.isprintable(), "a refusal can be printed")
        return None
    check(caller is not None or _is_proxy(peer) or not headers, "another address is refused")
    return caller


def _is_proxy(peer: str) -> bool:
    """Return whether an address is one of the proxy, in any of the forms of an address."""
    with suppress(ValueError):
        address = ipaddress.ip_address(peer)
        mapped = getattr(address, "ipv4_mapped", None) or address
        # A network has the addresses of all zones, such as fe80::1%eth0.
        return any(mapped in network for network in _NETWORKS)
    return False
