"""What an OAuth 2.1 authorization server of a test grants, by Authlib's protocol code."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import (
    ClientMixin,
    InvalidGrantError,
    InvalidRequestError,
    JsonPayload,
    JsonRequest,
    OAuth2Error,
    OAuth2Request,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.grants import (
    AuthorizationCodeGrant,
    BaseGrant,
    ClientCredentialsGrant,
    TokenEndpointMixin,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
TOKEN_LIFE = 3600


@dataclass
class OAuthClient(ClientMixin):
    """A registered client. A client without a secret is public."""

    client_id: str
    secret: str = ""
    redirect_uris: list[str] = field(default_factory=list)
    grants: tuple[str, ...] = ("authorization_code", "client_credentials", EXCHANGE)

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        return self.redirect_uris[0] if self.redirect_uris else None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and secrets.compare_digest(self.secret, client_secret)

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return (method == "none") is not bool(self.secret)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


@dataclass
class Code:
    """An authorization code that can be used once."""

    client_id: str
    redirect_uri: str
    scope: str
    resource: str | None
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Answer:
    """The status, body and headers of an answer."""

    status: int
    body: str
    headers: list[tuple[str, str]]


@dataclass
class Asked:
    """A request of the token or the authorization endpoint."""

    method: str
    url: str
    form: Mapping[str, str]
    headers: Mapping[str, str]


class Request(OAuth2Request):
    """A request in Authlib's form, whose parameters are in its form or in its query."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.method, asked.url, headers=asked.headers)
        self._parameters = dict(asked.form)
        self.payload = BasicOAuth2Payload(self._parameters)

    @property
    def args(self) -> Mapping[str, str]:
        return self._parameters

    @property
    def form(self) -> Mapping[str, str]:
        return self._parameters


class _Json(JsonPayload):
    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def data(self) -> Any:
        return self._data


Sign = Callable[..., str]
"""Issues a token with these claims."""


class Server(AuthorizationServer):
    """Authlib's authorization server without a web framework, with everything in memory.

    `verify` returns the claims of a token that this server has issued, and raises `ValueError` for
    any other. `clients` and `codes` are by their ids.
    """

    def __init__(
        self, sign: Sign, verify: Callable[[str], Mapping[str, Any]], audience: str
    ) -> None:
        super().__init__()
        self.sign = sign
        self.verify = verify
        self.audience = audience
        self.clients: dict[str, OAuthClient] = {}
        self.codes: dict[str, Code] = {}
        self.token_life = TOKEN_LIFE
        self.register_token_generator("default", self._generate)
        self.register_grant(_CodeGrant, [CodeChallenge(required=True)])
        self.register_grant(_ClientCredentials)
        self.register_grant(_TokenExchange)
        self.register_endpoint(_Registration)

    def query_client(self, client_id: str) -> OAuthClient | None:
        return self.clients.get(client_id)

    def save_token(self, token: Any, request: Any) -> None:
        """Keep nothing, because the tokens are signed."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def create_oauth2_request(self, request: Any) -> Any:
        return request if isinstance(request, OAuth2Request) else Request(request)

    def create_json_request(self, request: Any) -> JsonRequest:
        made = JsonRequest("POST", "https://localhost/register")
        made.payload = _Json(request)
        return made

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, body if isinstance(body, str) else json.dumps(body), headers)

    def _generate(
        self, grant_type: str, client: OAuthClient, user: Any, scope: str | None, **_: Any
    ) -> dict[str, Any]:
        resource = user["resource"] if user else None
        return self.granted(
            sub=user["sub"] if user else client.client_id,
            client_id=client.client_id,
            scope=scope or None,
            aud=resource or self.audience,
            grant=grant_type,
        )

    def granted(self, **claims: Any) -> dict[str, Any]:
        """Return the answer of the token endpoint with a new token."""
        life = self.token_life
        return {
            "access_token": self.sign(life=life, **claims),
            "token_type": "Bearer",
            "expires_in": life,
            **({"scope": claims["scope"]} if claims.get("scope") else {}),
        }


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post")

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        self.server.codes[code] = Code(
            request.client.client_id,
            data.get("redirect_uri", ""),
            request.scope,
            data.get("resource"),
            data.get("code_challenge"),
            data.get("code_challenge_method"),
        )

    def query_authorization_code(self, code: str, client: OAuthClient) -> Code | None:
        found: Code | None = self.server.codes.get(code)
        return found if found and found.client_id == client.client_id else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        codes = self.server.codes
        self.server.codes = {k: v for k, v in codes.items() if v is not authorization_code}

    def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
        return {"sub": "alice", "resource": authorization_code.resource}


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def create_token_response(self) -> Any:
        data = self.request.payload.data
        self.request.user = None
        token = self.server.granted(
            sub=self.request.client.client_id,
            client_id=self.request.client.client_id,
            scope=data.get("scope"),
            aud=data.get("resource") or data.get("audience") or self.server.audience,
            grant=self.GRANT_TYPE,
        )
        return 200, token, self.TOKEN_RESPONSE_HEADER


class InvalidTargetError(OAuth2Error):
    """The server issues no token for this audience (RFC 8693, section 2.2.2)."""

    error = "invalid_target"


class _TokenExchange(BaseGrant, TokenEndpointMixin):
    """RFC 8693: a caller's token in, and a token of the same subject for another audience out.

    The client that asks becomes the actor of the new token. No token is issued for an audience
    that begins with `refused`.
    """

    GRANT_TYPE = EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("the client may not exchange tokens")
        self.request.client = client
        data = self.request.payload.data
        for name in ("subject_token", "subject_token_type"):
            if not data.get(name):
                raise InvalidRequestError(f"Missing '{name}' in request.")
        if data.get("audience", data.get("resource", "")).startswith("refused"):
            raise InvalidTargetError("no token is issued for this audience")
        try:
            self.request.user = self.server.verify(data["subject_token"])
        except ValueError as error:
            raise InvalidGrantError(str(error)) from error

    def create_token_response(self) -> Any:
        data = self.request.payload.data
        subject = self.request.user
        token = self.server.granted(
            **{name: subject[name] for name in ("sub", "org_id", "groups") if name in subject},
            client_id=self.request.client.client_id,
            act={"sub": self.request.client.client_id},
            scope=data.get("scope"),
            aud=data.get("audience") or data.get("resource") or self.server.audience,
            grant=self.GRANT_TYPE,
        )
        asked = data.get("requested_token_type", ACCESS_TOKEN)
        return 200, {**token, "issued_token_type": asked}, self.TOKEN_RESPONSE_HEADER


class _Registration(ClientRegistrationEndpoint):
    """Dynamic client registration (RFC 7591), open to all."""

    def authenticate_token(self, request: Any) -> str:
        del request
        return "open"

    def get_server_metadata(self) -> dict[str, Any]:
        return {"grant_types_supported": ["authorization_code", "refresh_token"]}

    def generate_client_info(self, request: Any) -> dict[str, Any]:
        """Make every client public, as RFC 7591 allows whatever the client asks for."""
        info = super().generate_client_info(request)
        del info["client_secret"], info["client_secret_expires_at"]
        return {**info, "token_endpoint_auth_method": "none"}

    def save_client(self, client_info: Any, client_metadata: Any, request: Any) -> OAuthClient:
        del request
        client = OAuthClient(
            client_info["client_id"], redirect_uris=client_metadata.get("redirect_uris", [])
        )
        self.server.clients[client.client_id] = client
        return client
