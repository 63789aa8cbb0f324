"""The token endpoint of an OAuth 2.1 authorization server."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote_plus

import httpx2
import jwt
from pydantic import SecretStr

from lro_gateway.backends.credentials.bearer_file import checked_token
from lro_gateway.backends.credentials.failures import CredentialsError, refused_grant
from lro_gateway.backends.credentials.secret_file import SecretFile
from lro_gateway.backends.credentials.token_cache import Token
from lro_gateway.errors import unreached

_DEADLINE: Final = 5.0
"""Seconds within which the endpoint must answer."""
_LARGEST: Final = 256 * 1024
_LIFE: Final = 300.0
"""The life in seconds of a token whose answer does not tell it."""
_LONGEST: Final = 24 * 3600.0
_PASSING: Final = frozenset({408, 425, 429})
_ERROR: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}\Z")
_PLAIN: Final = "identity"
"""The encoding of answers, because a small one could be decompressed to gigabytes."""
_ACCEPTED: Final = {"accept": "application/json", "accept-encoding": _PLAIN}
_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE: Final = 60

Form = Mapping[str, str | Sequence[str]]
"""The parameters of a request. A parameter may occur several times."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The client that the gateway is at an authorization server.

    It proves its identity by a secret, in the header Authorization (`basic`) or in the form
    (`post`), or by JWTs that it signs with `key` by an algorithm (RFC 7523). A secret and a key in
    a file are read again for each request.
    """

    client_id: str
    secret: SecretStr | SecretFile | None = None
    method: Literal["basic", "post"] = "basic"
    key: SecretStr | SecretFile | None = None
    key_id: str = ""
    algorithm: str = ""

    def proof(self, audience: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers and the parameters that prove the client's identity."""
        if self.key is not None:
            parameters = {
                "client_id": self.client_id,
                "client_assertion_type": _ASSERTION,
                "client_assertion": self._assertion(audience),
            }
            return {}, parameters
        secret = self.secret.get_secret_value() if self.secret is not None else ""
        if self.method == "post":
            return {}, {"client_id": self.client_id, "client_secret": secret}
        # RFC 6749, section 2.3.1, wants both encoded as in a form.
        basic = httpx2.BasicAuth(quote_plus(self.client_id), quote_plus(secret))
        request = next(basic.sync_auth_flow(httpx2.Request("POST", audience)))
        return {"authorization": request.headers["authorization"]}, {}

    def _assertion(self, audience: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + _ASSERTION_LIFE,
        }
        headers = {"kid": self.key_id} if self.key_id else None
        key = self.key.get_secret_value() if self.key is not None else ""
        try:
            return jwt.encode(claims, key, algorithm=self.algorithm, headers=headers)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            text = f"client_key is no private key for {self.algorithm}"
            raise CredentialsError(text) from error


@dataclass(slots=True)
class TokenEndpoint:
    """Issues tokens to one client.

    `url` is that of the endpoint. If it is empty, the metadata of `issuer` tells it. `ca` is the
    file of the authority that the gateway trusts there, instead of those of the system.
    """

    client: OAuthClient
    url: str = ""
    issuer: str = ""
    ca: Path | None = None
    _http: httpx2.AsyncClient | None = field(default=None, repr=False)

    async def grant(self, form: Form, *, of_caller: bool = False) -> Token:
        """Request a token. Raises `CredentialsError` if the endpoint issues none.

        `of_caller` is true if the form has the token of a caller.
        """
        url = self.url or await self._discover()
        headers, proof = self.client.proof(url)
        status, answer = await self._send("POST", url, headers, {**form, **proof})
        if status == 200:
            return _token(answer, url)
        error = answer.get("error") if isinstance(answer, dict) else None
        if status >= 500 or status in _PASSING:
            raise CredentialsError(f"{url} answered HTTP status {status}", passes=True)
        if isinstance(error, str) and _ERROR.match(error):
            passes = error in {"temporarily_unavailable", "server_error"}
            if passes:
                raise CredentialsError(f"{url} answered {error}", passes=True)
            raise refused_grant(url, error, of_caller=of_caller)
        raise CredentialsError(
            f"{url} answered HTTP status {status}, and no error of OAuth: correct the URL"
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def _discover(self) -> str:
        """Return the URL of the endpoint, and keep it."""
        base = self.issuer.rstrip("/")
        status, metadata = await self._send("GET", base + _OPENID)
        if status != 200:
            scheme, _, rest = base.partition("://")
            host, slash, path = rest.partition("/")
            inserted = f"{scheme}://{host}{_OAUTH}{slash}{path}"
            status, metadata = await self._send("GET", inserted)
        if status != 200 or not isinstance(metadata, dict):
            text = f"the metadata of {self.issuer} cannot be had: HTTP status {status}"
            raise CredentialsError(text, passes=status >= 500)
        if metadata.get("issuer") != self.issuer:
            raise CredentialsError(
                "the metadata belongs to another issuer; write issuer exactly as the metadata"
                " says it"
            )
        url = metadata.get("token_endpoint")
        own = self.issuer.partition("://")[0] + "://"
        if not isinstance(url, str) or not url.startswith(("https://", own)):
            raise CredentialsError("the metadata has no token_endpoint with https")
        self.url = url
        return url

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, form: Any = None
    ) -> tuple[int, Any]:
        """Return the status and the JSON of an answer, or None if it is not JSON."""
        content = b""
        try:
            http = self._connected()
            async with (
                asyncio.timeout(_DEADLINE),
                http.stream(
                    method,
                    url,
                    headers={**_ACCEPTED, **(headers or {})},
                    data=form,
                ) as response,
            ):
                encoding = response.headers.get("content-encoding", _PLAIN)
                if encoding != _PLAIN:
                    text = f"{url} answered in {encoding!r}, which was not asked for"
                    raise CredentialsError(text)
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > _LARGEST:
                        raise CredentialsError(f"{url} answered more than {_LARGEST} bytes")
        except TimeoutError as error:
            text = f"{url} did not answer within {_DEADLINE:g} s"
            raise CredentialsError(text, passes=True) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # New connections read the file `ca` again.
            await self.close()
            text = f"{url} cannot be reached: {unreached(error)}"
            raise CredentialsError(text, passes=True) from error
        try:
            return response.status_code, json.loads(content)
        except (ValueError, RecursionError):
            return response.status_code, None

    def _connected(self) -> httpx2.AsyncClient:
        if self._http is None:
            try:
                trust = ssl.create_default_context(cafile=self.ca)
            except OSError as error:
                text = f"ca: {self.ca} is no file of certificates: {error.strerror}"
                raise CredentialsError(text) from error
            # A redirect could lead to an address that nobody has configured.
            self._http = httpx2.AsyncClient(verify=trust, timeout=_DEADLINE, follow_redirects=False)
        return self._http


def _token(answer: Any, url: str) -> Token:
    """Return the token of a successful answer (RFC 6749, section 5.1)."""
    source = f"the answer of {url}"
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise CredentialsError(f"{source} has no access_token: correct the URL")
    kind = answer.get("token_type", "Bearer")
    # RFC 8693 has N_A for a token that is no access token.
    if not isinstance(kind, str) or kind.lower() not in {"bearer", "n_a"}:
        raise CredentialsError(f"{source} has a token that is no bearer token")
    value = checked_token(answer["access_token"], f"the token in {source}")
    life = _seconds(answer.get("expires_in", _LIFE))
    if life is None or life <= 0:
        raise CredentialsError(f"{source} has a token that has ended already", passes=True)
    return Token.lasting(value, min(life, _LONGEST))


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
