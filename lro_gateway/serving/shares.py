"""The share of each principal: what one identified caller may have in flight.

A principal may come from many addresses, so it is counted behind the guard, which has identified
it. The gateway counts callers without an identity by their addresses, in `serving/limits`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lro_gateway.access.authentication import caller_in, has_caller
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.principal import Principal
from lro_gateway.serving.heads import PROBES
from lro_gateway.serving.limits import STREAMS, InFlight
from lro_gateway.serving.refusals import Refusal, too_many_requests, too_many_streams


class Shares:
    """ASGI middleware behind the guard that refuses the requests of a principal over its share."""

    def __init__(self, app: ASGIApp, limits: LimitsConfig) -> None:
        self._app = app
        self._requests = InFlight(limits.max_requests, limits.max_requests_per_principal)
        self._streams = InFlight(limits.max_streams, limits.max_streams_per_principal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request if the share of its caller has room for it, and refuse it otherwise."""
        if scope["type"] != "http" or scope["raw_path"] in PROBES or not has_caller(scope):
            await self._app(scope, receive, send)
            return
        caller = caller_in(scope)
        identity = caller.identity
        if not any(identity):
            await self._app(scope, receive, send)
            return
        is_stream = scope["raw_path"].endswith(STREAMS)
        if (refusal := self._refusal(caller, is_stream=is_stream)) is not None:
            refusal.log(caller)
            await refusal.response()(scope, receive, send)
            return
        self._requests.enter(identity)
        if is_stream:
            self._streams.enter(identity)
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests.leave(identity)
            if is_stream:
                self._streams.leave(identity)

    def _refusal(self, caller: Principal, *, is_stream: bool) -> Refusal | None:
        requests, streams = self._requests, self._streams
        if requests.is_full_for(caller.identity):
            setting = "limits.max_requests_per_principal"
            return too_many_requests(requests.most_by_client, setting, in_all=False)
        if is_stream and streams.is_full_for(caller.identity):
            setting = "limits.max_streams_per_principal"
            return too_many_streams(streams.most_by_client, setting, in_all=False)
        return None
