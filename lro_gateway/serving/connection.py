"""One HTTP connection: uvicorn's protocol, with limits for what its client sends and takes.

uvicorn limits neither headers nor time. This protocol counts the bytes of a head while they arrive,
and gives each part of a request its time. A request with a complete head is refused by the
application, which adds the usual headers. All other bytes are refused here.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lro_gateway.access.peer import CERTIFICATE_KEY
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.rest.disconnection import DISCONNECTION
from lro_gateway.serving.client_trust import Withdrawn
from lro_gateway.serving.connections import REFUSED_TIME, Connections
from lro_gateway.serving.handshakes import Handshake
from lro_gateway.serving.heads import (
    NOT_HTTP,
    PROBES,
    head_refusal,
    head_too_large,
    host_refusal,
)
from lro_gateway.serving.joined_writes import JoinedWrites
from lro_gateway.serving.light_parts import ClientEvent, LightFlow, LightPipeline
from lro_gateway.serving.refusals import (
    EXPECTS_KEY,
    REFUSAL_KEY,
    Refusal,
    bad_request,
    logger,
    timed_out,
    too_many_requests,
)
from lro_gateway.serving.request_ids import NAME as REQUEST_ID_HEADER
from lro_gateway.serving.request_ids import logging_as, new_request_id
from lro_gateway.serving.tls import has_expired

_LINGER: Final = 2.0
"""Seconds in which the gateway still reads after a refusal, so that the client can read it."""
_READ: Final = 64 * 1024


class Connection(HttpToolsProtocol):
    """A connection of a client. If it is made with a refusal, only probes get an answer."""

    # Connections share the names of their attributes, but only up to thirty, and uvicorn has nearly
    # as many. Measured: with these in slots, a connection takes 1.2 KB less.
    __slots__ = (
        *("_all", "_arrived", "_body_time", "_certificate", "_cycles", "_deadline", "_handshake"),
        *("_head_time", "_host", "_hosts", "_in_body", "_in_head", "_last_words", "_limits"),
        *("_parsed", "_refusal", "_refused", "_resuming", "_unparsed", "_unsent", "_unsent_since"),
    )

    def __init__(
        self,
        connections: Connections,
        refusal: Refusal | None,
        handshake: Handshake | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parser: Any
        self.pipeline: Any = LightPipeline()
        self._all = connections
        self._handshake = handshake
        self._certificate: bytes | None = None
        self._limits: LimitsConfig = connections.limits
        self._head_time = self._limits.header_timeout.total_seconds()
        self._body_time = self._limits.body_timeout.total_seconds()
        self._refusal = refusal
        self._refused = False
        self._cycles: list[RequestResponseCycle] = []
        self._in_head = True
        self._in_body = False
        self._unparsed = 0
        self._arrived = 0
        self._parsed = 0
        self._hosts = 0
        self._resuming = False
        self._deadline = math.inf
        self._unsent = 0
        self._unsent_since = math.inf
        self._last_words = b""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the head of the first request."""
        super().connection_made(JoinedWrites(transport, self.loop))
        self.flow = LightFlow(self.transport)
        self._host = self.client[0] if self.client else ""
        time = REFUSED_TIME if self._refusal else self._head_time
        self._deadline = self.loop.time() + time
        if self._handshake is not None:
            self._handshake.release()
            secured = transport.get_extra_info("ssl_object")
            self._certificate = secured.getpeercert(True)
            if self._certificate and secured.session_reused and has_expired(self._certificate):
                # A resumed session of TLS 1.2 does not verify the certificate again.
                transport.abort()
        self._all.add(self, self._host, refused=self._refusal is not None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report to every unanswered request that the client has left.

        uvicorn tells only the latest request. If a client with an open stream sends another request
        and then leaves, uvicorn alone would let the stream go on without a reader.
        """
        super().connection_lost(exc)
        self._all.remove(self, self._host, refused=self._refusal is not None)
        for cycle in self._cycles:
            _disconnect(cycle)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, unless they are over a limit."""
        if self._refused:
            return
        if not self._in_body and not self._in_head:
            self._await_head()
        self._arrived = len(data)
        self._unparsed += self._arrived
        if self._unparsed > self._limits.max_header_bytes and not self._goes_on(data):
            self._refuse(head_too_large(self._limits))
            return
        self._unset_keepalive_if_required()
        if self.parser is None:
            self.parser = self._new_parser()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(bad_request(NOT_HTTP))

    def _goes_on(self, data: bytes) -> bool:
        """Return whether these bytes may end a head, or hold a part of a body.

        Then the size of the head is checked exactly. Only trailers and extensions of chunks are no
        part of a body.
        """
        return b"\r\n\r\n" in data if self._in_head else not self._is_chunked()

    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the body of a request that offers another protocol, and all later requests.

        A server may ignore the offer (RFC 9110), but the parser takes all further bytes as the
        other protocol. So a new parser gets the headers of the body, and then the bytes. Java's
        HTTP client makes such an offer with each request.
        """
        framing = [
            b"%b: %b\r\n" % header
            for header in self.headers
            if header[0] in {b"content-length", b"transfer-encoding"}
        ]
        self.parser = self._new_parser()
        self._resuming = True
        self.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))
        self._resuming = False
        if rest:
            self.data_received(rest)

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _await_head(self, parsed: int = 0) -> None:
        """Begin to count a head. Up to `parsed` bytes of it have been given to the parser."""
        self._in_head, self._parsed, self._unparsed = True, parsed, 0
        self._deadline = self.loop.time() + self._head_time

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._resuming or self._refused:
            return
        if not self._in_head:
            # The request came together with the end of the one before.
            self._await_head(self._arrived)
        self._hosts = 0
        super().on_message_begin()
        if self._certificate is not None:
            self.scope[CERTIFICATE_KEY] = self._certificate  # type: ignore[typeddict-unknown-key]

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        if not self._resuming:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header without the blanks around its value, which are no part of it (RFC 9110).

        A trailer is ignored, because the headers have been checked already.
        """
        if not self._in_head:
            return
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer a request, and keep it until it is answered."""
        if self._resuming or self._refused:
            return
        size = self._parsed + self._unparsed
        self._in_head, self._unparsed = False, 0
        waiting = self._unanswered()
        most = self._limits.max_requests_per_connection
        if len(waiting) >= most:
            setting = "limits.max_requests_per_connection"
            self._refuse(too_many_requests(most, setting, in_all=False))
            return
        self._deadline = self.loop.time() + self._body_time
        refusal = self._refusal_of_head(size)
        if refusal is not None:
            if refusal is not self._refusal:
                refusal.log(self._host)
            self.scope[REFUSAL_KEY] = refusal  # type: ignore[typeddict-unknown-key]
            # uvicorn cannot parse a target of 64 KiB, and the refusal does not need it.
            self.url = self.url[: self._limits.max_target_bytes]
        if self.expect_100_continue:
            self.scope[EXPECTS_KEY] = True  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        event: Any = ClientEvent(self.flow)
        self.cycle.message_event = event
        self.scope[DISCONNECTION] = event  # type: ignore[typeddict-unknown-key]
        self._in_body = True
        if self._refusal is not None:
            self.cycle.keep_alive = False
        self._cycles = [*waiting, self.cycle]

    def _refusal_of_head(self, most: int) -> Refusal | None:
        """Return why the head is refused, if it is. It has at most `most` bytes."""
        version, url, headers = self.parser.get_http_version(), self.url, self.headers
        found = head_refusal(self._limits, version, url, headers, most=most)
        if found is None:
            found = host_refusal(url, headers, self._hosts)
        if found is None and self._refusal is not None:
            return None if url.partition(b"?")[0] in PROBES else self._refusal
        return found

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, unless its request is refused, or its answer has no use for it."""
        self._unparsed = 0
        event: Any = self.cycle.message_event
        if not self._refused and event.keeps_body:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body of a request, unless its body is yet to be read."""
        if self._refused or self.parser.should_upgrade():
            return
        self._in_body, self._deadline = False, math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to answer the next request, or send the refusal that waits behind this answer."""
        super().on_response_complete()
        if self._refused and not self._unanswered():
            self._send_last_words()

    def _unanswered(self) -> list[RequestResponseCycle]:
        # Answers are sent in the order of their requests.
        if not self._cycles or self._cycles[-1].response_complete:
            return []
        return [each for each in self._cycles if not each.response_complete]

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal after the answers to earlier requests, and take no more bytes."""
        self._refused = True
        self._deadline = math.inf
        request_id = new_request_id()
        with logging_as(request_id):
            refusal.log(self._host)
        headers = [*self.server_state.default_headers, (REQUEST_ID_HEADER, request_id.encode())]
        self._last_words = refusal.to_bytes(headers)
        if self._in_body and self._cycles and self._cycles[-1] is self.cycle:
            # The body of the latest request will not arrive, so its answer is the refusal.
            if self.cycle.response_started:
                self._last_words = b""
            self.pipeline[:] = [each for each in self.pipeline if each[0] is not self.cycle]
            self._cycles = self._cycles[:-1]
            _disconnect(self.cycle)
        if not self._unanswered():
            self._send_last_words()

    def _send_last_words(self) -> None:
        """Send the refusal, and read on for a moment.

        If the gateway closed the connection while bytes of the client are unread, the system would
        reset the connection, and the client might lose the answer.
        """
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        self.transport.write(self._last_words)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._last_words = b""
        self._deadline = self.loop.time() + _LINGER
        self.flow.resume_reading()

    def end_refused(self) -> None:
        """Answer and close a connection that was refused when it was accepted.

        If its request has arrived, the usual way answers it, because a probe gets another answer,
        and because the system resets a connection that closes with unread bytes.
        """
        if self._refusal is None or self._refused or self._cycles or self.transport.is_closing():
            return
        if self._handshake is None and (received := self._unread()):
            self.data_received(received)
            return
        self.transport.write(self._refusal.to_bytes(self.server_state.default_headers))
        self.transport.close()

    def distrust(self, withdrawn: Withdrawn) -> None:
        """End the connection if its certificate is trusted no longer.

        Streams end at once. A request that has no answer yet gets it, and is the last.
        """
        if self._certificate is None or not withdrawn(self._certificate):
            return
        unanswered = self._unanswered()
        if not unanswered:
            self.transport.close()
        for cycle in unanswered:
            cycle.keep_alive = False
            if cycle.response_started:
                self.transport.abort()

    def _unread(self) -> bytes:
        """Return the bytes that have arrived, and that the event loop has not read yet."""
        with suppress(OSError):
            return os.read(self.transport.get_extra_info("socket").fileno(), _READ)
        return b""

    def pause_writing(self) -> None:
        """Begin to measure how long the client takes no bytes that wait for it."""
        super().pause_writing()
        self._unsent_since = self.loop.time()
        self._unsent = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """End to measure, because the client has taken enough."""
        super().resume_writing()
        self._unsent_since = math.inf

    def check_time(self, now: float) -> None:
        """Refuse or end the connection if it has taken too long."""
        if self._unsent_since < now or self.transport.is_closing():
            self._check_reader(now)
        if not self._in_head and not self._in_body and self._cycles:
            # Between two requests a parser knows nothing. Measured: it takes 0.9 KB.
            self.parser = None
        if now < self._deadline:
            return
        if self.flow.read_paused:
            # The client may have sent all, but the gateway does not read now.
            self._deadline = now + self._head_time
            return
        if self._refused:
            self.transport.abort()
        elif self._refusal is not None and not self._cycles:
            self.end_refused()
        elif self._in_body:
            self._refuse(timed_out("body", self._body_time, "limits.body_timeout"))
        elif self._unparsed:
            self._refuse(timed_out("head", self._head_time, "limits.header_timeout"))
        else:
            self.transport.close()

    def _check_reader(self, now: float) -> None:
        size = self.transport.get_write_buffer_size()
        if size < self._unsent or self._unsent_since == math.inf:
            self._unsent, self._unsent_since = size, now
        elif now - self._unsent_since >= self._limits.send_timeout.total_seconds():
            logger.warning("%s reads no answer; see limits.send_timeout", self._host)
            self.transport.abort()


def _disconnect(cycle: RequestResponseCycle) -> None:
    if cycle.response_complete:
        cycle.message_event.set()
        return
    cycle.disconnected = True
    event: Any = cycle.message_event
    event.leave()
