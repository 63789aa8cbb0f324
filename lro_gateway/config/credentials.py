"""The tables `[backends.credentials]`: what the gateway shows to a backend with each call."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo, model_validator

from lro_gateway.config.auth import Text, Url
from lro_gateway.config.secrets import FILE, SecretFileStr, referenced
from lro_gateway.config.tables import Table
from lro_gateway.config.values import ExistingFile, relative_to_base

_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_CLOUD: Final = "https://www.googleapis.com/auth/cloud-platform"
_URN: Final = re.compile(r"[!-~]+\Z")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
_HEADER: Final = re.compile(r"[a-z0-9_.-]+\Z")
_RESERVED: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate"),
        *("content-type", "content-length", "te", "trailer", "transfer-encoding", "connection"),
        *("host", "upgrade", "keep-alive", "expect", "user-agent", "forwarded", "via"),
        *("accept-encoding", "content-encoding", "origin", "referer"),
        *("traceparent", "tracestate", "baggage"),
        *("x-goog-request-params", "x-goog-iam-authorization-token"),
    }
)
"""Headers with credentials, headers that gRPC or HTTP needs, and those that the gateway sends."""
_RESERVED_STARTS: Final = ("grpc-", "x-forwarded-", "sec-", "x-envoy-", "x-goog-authenticated-")


def _read_secret(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    text = referenced(value, info)
    if text is None:
        raise ValueError(
            "write env:NAME or file:PATH, which has the secret, and not the secret itself"
        )
    if not text:
        raise ValueError(f"{value} is empty")
    if value.startswith(FILE):
        return SecretFileStr(text, relative_to_base(value.removeprefix(FILE), info))
    return text


def _check_scope(value: str) -> str:
    if not _SCOPE.match(value):
        raise ValueError(f"{value!r} is not a scope; a scope has no blanks")
    return value


def _check_header(value: str) -> str:
    name = value.lower()
    if not _HEADER.match(name):
        raise ValueError(
            f"{value!r} is not the name of a header that can be gRPC metadata: letters, digits and"
            " _ . - are allowed"
        )
    if name.endswith("-bin"):
        raise ValueError(f"{value!r} would be binary metadata, which no header can be")
    if name in _RESERVED or name.startswith(_RESERVED_STARTS):
        raise ValueError(
            f"{value!r} cannot be passed on: it has credentials, or HTTP, gRPC or the gateway sets"
            " it"
        )
    return name


def _check_urn(value: str) -> str:
    if not _URN.match(value):
        raise ValueError("the URN of a type of tokens is needed")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_read_secret)]
Scopes = tuple[Annotated[str, AfterValidator(_check_scope)], ...]
PassedHeader = Annotated[str, AfterValidator(_check_header)]
TokenType = Annotated[str, AfterValidator(_check_urn)]


class OAuthConfig(Table):
    """A token endpoint, the client that the gateway is there, and what the tokens are for.

    The URL of the endpoint is `token_url`, or the metadata of `issuer` tells it.
    """

    token_url: Url | None = None
    issuer: Url | None = None
    ca: ExistingFile | None = None
    client_id: Text
    client_secret: Secret | None = None
    client_auth: Literal["basic", "post"] = "basic"
    client_key: Secret | None = None
    client_key_id: str = ""
    client_algorithm: Literal["RS256", "PS256", "ES256", "EdDSA"] = "RS256"
    scopes: Scopes = ()
    audience: str = ""
    resource: str = ""

    @model_validator(mode="after")
    def _check_endpoint(self) -> OAuthConfig:
        if (self.token_url is None) == (self.issuer is None):
            raise ValueError("set token_url or issuer, and not both")
        if (self.client_secret is None) == (self.client_key is None):
            raise ValueError("set client_secret or client_key, and not both")
        return self


class ExchangeConfig(OAuthConfig):
    """The exchange of each caller's token for one of the backend (RFC 8693)."""

    subject_token_type: TokenType = _ACCESS_TOKEN
    requested_token_type: TokenType = _ACCESS_TOKEN


class GoogleConfig(Table):
    """Google's Application Default Credentials."""

    token: Literal["access", "id"] = "access"  # noqa: S105 - a kind of token
    scopes: Scopes = (_CLOUD,)
    audience: str = ""

    @model_validator(mode="after")
    def _check_audience(self) -> GoogleConfig:
        if (self.token == "id") != bool(self.audience):  # noqa: S105 - a kind of token
            raise ValueError('token = "id" needs audience, and an access token has none')
        return self


class CredentialsConfig(Table):
    """One kind of credentials. `allow_plaintext` lets them go over a network without TLS."""

    bearer_file: ExistingFile | None = None
    client_credentials: OAuthConfig | None = None
    token_exchange: ExchangeConfig | None = None
    google: GoogleConfig | None = None
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _check_kind(self) -> CredentialsConfig:
        kinds = ("bearer_file", "client_credentials", "token_exchange", "google")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"one kind of credentials is needed: {', '.join(kinds)}")
        return self
