"""An OAuth 2.1 and OpenID Connect authorization server that runs in the test, over TLS."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from authlib.oauth2.rfc6749 import OAuth2Error
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.access.oauth_grants import EXCHANGE, Answer, Asked, OAuthClient, Server
from tests.access.token_signer import ALGORITHMS, TokenSigner
from tests.certificates import Authority

AUDIENCE = "https://gateway.test/mcp"
JWKS_PATH = "/jwks"
_BOMB = gzip.compress(b" " * 10_000_000)
DISCOVERY_PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


class AuthorizationServer:
    """A running authorization server; `signer` issues any token, good or bad, without a request.

    `ca` is the file of the certificate authority that a client must trust. While `is_down` is true,
    every request is answered 503, and while `is_bomb` is true, with much in a few compressed bytes.
    While `has_no_keys` is true, only the JWKS is answered 503. Without
    `has_openid` the metadata is only where RFC 8414 has it. `asked` has the path and the parameters
    of each request. `life` is the life of the tokens of the token endpoint, in seconds. The
    registered client `backend-caller` has the secret `let-me-in`.
    """

    def __init__(self, issuer: str, ca: Path, audience: str = AUDIENCE) -> None:
        self.issuer = issuer
        self.ca = ca
        self.is_down = False
        self.is_bomb = False
        self.has_no_keys = False
        self.has_openid = True
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.signer = TokenSigner(issuer, audience)
        self.oauth = Server(self._sign, self.verified, audience)
        self.oauth.clients["backend-caller"] = OAuthClient("backend-caller", secret="let-me-in")  # noqa: S106

    @staticmethod
    @asynccontextmanager
    async def open(directory: Path, audience: str = AUDIENCE) -> AsyncIterator[AuthorizationServer]:
        """Serve on loopback, with a certificate that is made in this directory."""
        authority = Authority(directory, "issuer-authority")
        identity = authority.issue("issuer")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            issuer = f"https://127.0.0.1:{listener.getsockname()[1]}"
            made = AuthorizationServer(issuer, authority.file, audience)
            config = uvicorn.Config(
                made.app(),
                log_config=None,
                lifespan="off",
                ssl_certfile=str(identity.certificate),
                ssl_keyfile=str(identity.key),
            )
            server = _Uvicorn(config)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            await server.listening.wait()
            try:
                yield made
            finally:
                server.should_exit = server.force_exit = True
                await task

    @property
    def life(self) -> int:
        """The life of the tokens of the token endpoint, in seconds."""
        return self.oauth.token_life

    @life.setter
    def life(self, seconds: int) -> None:
        self.oauth.token_life = seconds

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts the server's certificate."""
        return ssl.create_default_context(cafile=self.ca)

    def count(self, path: str) -> int:
        """Return the number of requests of a path."""
        return sum(1 for each, _ in self.asked if each == path)

    def metadata(self) -> dict[str, Any]:
        """Return the document of discovery (RFC 8414, OpenID Connect Discovery)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "jwks_uri": f"{self.issuer}{JWKS_PATH}",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "client_credentials", EXCHANGE],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(ALGORITHMS.values()),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [
                "none",
                "client_secret_basic",
                "client_secret_post",
            ],
        }

    def verified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token of this server; raise `ValueError` if it is not valid."""
        try:
            keys = KeySet([*self.signer.published])
            claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS.values())).claims
            jwt.JWTClaimsRegistry(iss={"essential": True, "value": self.issuer}).validate(claims)
        except (JoseError, ValueError) as error:
            raise ValueError(f"the subject token is not valid: {error}") from error
        return claims

    def app(self) -> Starlette:
        """Return the web application."""
        return Starlette(
            routes=[
                *(Route(path, self._discovery) for path in DISCOVERY_PATHS),
                Route(JWKS_PATH, self._jwks),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/register", self._register, methods=["POST"]),
            ]
        )

    def _sign(self, *, life: int, grant: str, **claims: Any) -> str:
        del grant
        now = int(time.time())
        return self.signer.token(**claims, iat=now, nbf=now, exp=now + life)

    def _unavailable(self, request: Request, form: Mapping[str, str]) -> Response | None:
        self.asked.append((request.url.path, form))
        if self.is_bomb:
            return Response(_BOMB, headers={"content-encoding": "gzip"})
        return Response("try again later", status_code=503) if self.is_down else None

    async def _discovery(self, request: Request) -> Response:
        down = self._unavailable(request, {})
        if not self.has_openid and request.url.path == DISCOVERY_PATHS[0]:
            return Response("not found", status_code=404)
        return down or JSONResponse(self.metadata())

    async def _jwks(self, request: Request) -> Response:
        down = self._unavailable(request, {})
        if self.has_no_keys:
            return Response("the keys are away", status_code=503)
        return down or JSONResponse(self.signer.jwks())

    async def _authorize(self, request: Request) -> Response:
        """Let Alice agree at once, without a page."""
        asked = Asked("GET", str(request.url), dict(request.query_params), request.headers)
        down = self._unavailable(request, asked.form)
        if down:
            return down
        try:
            grant = self.oauth.get_consent_grant(asked, end_user="alice")
        except OAuth2Error as error:
            return JSONResponse({"error": error.error, "error_description": error.description}, 400)
        return _response(
            self.oauth.create_authorization_response(grant.request, "alice", grant=grant)
        )

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        down = self._unavailable(request, form)
        asked = Asked("POST", str(request.url), form, request.headers)
        return down or _response(self.oauth.create_token_response(asked))

    async def _register(self, request: Request) -> Response:
        down = self._unavailable(request, {})
        body = await request.json()
        if down:
            return down
        answer = self.oauth.create_endpoint_response("client_registration", body)
        return _response(answer)


class _Uvicorn(uvicorn.Server):
    """A server that says when it listens, and leaves the signals of the test's process alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
