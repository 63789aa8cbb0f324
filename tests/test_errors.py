"""Errors: the table of codes, the details of the gateway's errors, and cut and quoted texts."""

from __future__ import annotations

import socket
import ssl

import httpx2
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.errors import (
    DOMAIN,
    Code,
    StatusError,
    bad_request,
    code_name,
    cut,
    escaped,
    invalid_argument,
    plain,
    quote,
    quoted_text,
    says,
    shown_name,
    status_error,
    unreached,
)


def test_the_codes_are_those_of_google_rpc() -> None:
    """Names and numbers are those of the protobuf enum."""
    assert {code.name: code.value for code in Code} == dict(code_pb2.Code.items())


def test_each_code_has_its_http_status_of_code_proto() -> None:
    """The comments in google/rpc/code.proto define the HTTP statuses."""
    assert {code.name: code.http_status for code in Code} == {
        "OK": 200,
        "CANCELLED": 499,
        "UNKNOWN": 500,
        "INVALID_ARGUMENT": 400,
        "DEADLINE_EXCEEDED": 504,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409,
        "PERMISSION_DENIED": 403,
        "RESOURCE_EXHAUSTED": 429,
        "FAILED_PRECONDITION": 400,
        "ABORTED": 409,
        "OUT_OF_RANGE": 400,
        "UNIMPLEMENTED": 501,
        "INTERNAL": 500,
        "UNAVAILABLE": 503,
        "DATA_LOSS": 500,
        "UNAUTHENTICATED": 401,
    }


@pytest.mark.parametrize("number", [-1, 17, 2**31 - 1])
def test_a_number_that_is_no_code_is_unknown_and_keeps_its_number(number: int) -> None:
    """Its HTTP status is that of UNKNOWN, and its name contains the number."""
    error = StatusError(status_pb2.Status(code=number, message="odd"))
    assert (error.code, error.code.http_status) == (Code.UNKNOWN, 500)
    assert code_name(number) == f"CODE_{number}"
    assert str(error) == f"CODE_{number}: odd"


def test_an_error_of_the_gateway_has_an_error_info_first() -> None:
    """It has reason, domain and metadata (AIP-193). The other details follow in their order."""
    error = status_error(
        Code.UNAVAILABLE,
        "backend b is down",
        "BACKEND_UNAVAILABLE",
        metadata={"target": "host:1"},
        details=[error_details_pb2.RequestInfo(request_id="r")],
        backend="b",
    )
    assert (error.code, error.message, error.reason, error.backend) == (
        Code.UNAVAILABLE,
        "backend b is down",
        "BACKEND_UNAVAILABLE",
        "b",
    )
    assert error.details_json() == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "BACKEND_UNAVAILABLE",
            "domain": DOMAIN,
            "metadata": {"target": "host:1", "backend": "b"},
        },
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r"},
    ]


def test_an_invalid_argument_names_its_field() -> None:
    """The error text, the metadata and a BadRequest detail name the field."""
    error = invalid_argument("page_size", "must not be negative", "NEGATIVE_PAGE_SIZE", limit="0")
    assert str(error) == "INVALID_ARGUMENT: page_size: must not be negative"
    assert error.details_json() == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "NEGATIVE_PAGE_SIZE",
            "domain": DOMAIN,
            "metadata": {"field": "page_size", "limit": "0"},
        },
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "page_size", "description": "must not be negative"}],
        },
    ]


def test_a_lone_surrogate_in_any_part_of_an_error_is_escaped() -> None:
    r"""JSON may contain "\ud800", but a protobuf string may not."""
    error = invalid_argument("\ud800", "of \udfff", value="\udabc")
    assert error.message == r"\ud800: of \udfff"
    assert error.details_json() == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "INVALID_FIELD",
            "domain": DOMAIN,
            "metadata": {"field": r"\ud800", "value": r"\udabc"},
        },
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": r"\ud800", "description": r"of \udfff"}],
        },
    ]


def test_a_status_without_a_readable_error_info_has_no_reason() -> None:
    """Missing and corrupt details raise no exception."""
    corrupt = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    other = any_pb2.Any()
    other.Pack(error_details_pb2.RequestInfo())
    assert StatusError(status_pb2.Status(code=5)).reason is None
    assert StatusError(status_pb2.Status(code=5, details=[other, corrupt])).reason is None


def test_the_first_readable_error_info_gives_the_reason() -> None:
    """A corrupt ErrorInfo before it is ignored."""
    good = any_pb2.Any()
    good.Pack(error_details_pb2.ErrorInfo(reason="STOCKOUT"))
    corrupt = any_pb2.Any(type_url=good.type_url, value=b"\xff")
    assert StatusError(status_pb2.Status(code=8, details=[corrupt, good])).reason == "STOCKOUT"


@given(st.text() | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Zl"])))
def test_quoted_text_is_printable_ascii_of_limited_length(text: str) -> None:
    """Any text of a caller can be put into an error text, a header or a log line."""
    shown = quote(text, 10)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 2 + 10 * len(r"\U00000000") + 3


def test_quoted_text_is_cut_if_it_is_too_long() -> None:
    """Three dots show the cut."""
    assert quote("abc", 3) == "'abc'"
    assert quote("abcd", 3) == "'abc...'"


@given(st.text() | st.text("ab ", min_size=20), st.integers(3, 30))
def test_a_cut_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    """A text within the limit is unchanged."""
    shown = cut(text, limit)
    assert len(shown) <= limit
    assert shown == text or (len(text) > limit and shown.endswith("..."))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two", "one two"),
        ("one two three four", "one two three..."),
        ("onetwothreefourfive", "onetwothreefo..."),
        (f"one {'x' * 60}", f"one {'x' * 49}..."),
    ],
)
def test_a_text_is_cut_between_words_if_one_ends_near(text: str, shown: str) -> None:
    """A long word is cut in its middle, so that most of the text remains."""
    assert cut(text, 56 if "x" in text else 16) == shown


_HIDDEN = st.sampled_from(
    "\x1b\n\x07\x9b\u200b\u202e\u2066\u061c\ufe0f\u3164\ufeff\ud800\U000e0041\U000e0100"
)


@given(st.text(st.characters() | _HIDDEN | st.sampled_from('"\u201c\u201d')), st.integers(5, 60))
def test_a_quoted_text_of_a_backend_is_one_line_that_cannot_end_its_quotes(
    text: str, limit: int
) -> None:
    """Every character shows, and the length is limited."""
    shown = quoted_text(text, limit)
    assert shown[0] == shown[-1] == '"'
    assert len(shown) <= limit + 2
    assert not set(shown[1:-1]) & set('"\u201c\u201d')
    assert shown == escaped(shown)
    assert says(text, limit) in {"", *(f"The service says: {shown}{end}" for end in ("", "."))}


@given(st.text(st.characters() | _HIDDEN))
def test_an_escaped_text_has_no_character_that_shows_nothing(text: str) -> None:
    """The text of a log line or of a terminal has its other characters unchanged."""
    shown = escaped(text)
    assert shown.isprintable()
    assert escaped(shown) == shown
    assert not set(shown) & set("\u200b\u202e\ufe0f\u3164\U000e0041\U000e0100")


def test_letters_of_every_script_stay_in_a_plain_text() -> None:
    """Only the joiners between letters are left out, and white space becomes one blank."""
    text = "\u0641\u0627\u0631\u0633\u06cc \u05e2\u05d1 \u65e5\u672c \u0939\u093f \U0001f600 \xe9"
    assert plain(text) == text
    assert plain("a\u200d\u200cb\t\r\n c\xa0d \u202e e") == "ab c d e"
    assert plain("x" * 4_000_000, 8) == "xxxxx..."
    assert plain("\u200b" * 4_000_000) == "..."


def test_a_name_that_could_be_read_as_words_is_in_quotes() -> None:
    """Names that services usually give stay as they are."""
    assert shown_name("projects/p-1/operations/a_b.c~d:e") == "projects/p-1/operations/a_b.c~d:e"
    assert shown_name("jobs/1. Stop\n") == '"jobs/1. Stop"'
    assert shown_name("x" * 201).startswith('"')


def test_an_error_of_the_gateway_holds_no_long_text() -> None:
    """All texts are cut by their bytes, and the name of an operation that has begun is whole."""
    name = "jobs/" + "x" * 10_000
    many = {f"{n}" + "k" * 5000: "\u20ac" * 5000 for n in range(100)}
    error = status_error(
        Code.INTERNAL, "\\u200b" * 5000, "ODD", metadata={"operation": name, **many}
    )
    assert error.info is not None
    metadata = dict(error.info.metadata)
    assert metadata.pop("operation") == name
    assert len(metadata) == 31
    assert max(len(text.encode()) for each in metadata.items() for text in each) <= 1024
    assert error.message.startswith("\\u200b")
    assert set(error.message.split("\\u200b")) == {"", "..."}
    assert 4000 < len(error.message) <= 4096


@pytest.mark.parametrize("character", ["x", "\ud800", "\u20ac", "\\", " "])
def test_the_violation_of_a_field_is_cut(character: str) -> None:
    """Its path and its text have at most 1 KiB each."""
    error = invalid_argument(character * 2_000_000, character * 2_000_000)
    assert len(error.message.encode()) <= 4096
    assert error.status.ByteSize() < 8192


def test_ten_violations_share_the_bytes_of_one_error() -> None:
    """The first ten remain, and each of their texts is shorter."""
    detail = bad_request([(f"{n}" + "x" * 5000, "y" * 5000) for n in range(50)])
    assert [each.field[0] for each in detail.field_violations] == list("0123456789")
    assert detail.ByteSize() < 4300


async def test_a_refused_connection_says_so() -> None:
    """The texts of asyncio and of HTTP's library do not say that nothing listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.ConnectError) as caught:
            await client.get(f"http://127.0.0.1:{port}/")
    assert unreached(caught.value) == "Connection refused"


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service"),
        (ssl.SSLError(1, "[SSL] wrong version number"), "outer"),
        (OSError("no number"), "outer"),
        (None, "outer"),
    ],
)
def test_a_failed_connection_has_the_words_of_the_system_if_they_fit(
    cause: Exception | None, text: str
) -> None:
    """The number of an error of TLS is no error of the system."""
    error = httpx2.ConnectError("outer")
    error.__cause__ = cause
    assert unreached(error).startswith(text)


def test_an_error_without_a_text_has_its_name() -> None:
    """The read of an answer may end without a word."""
    assert unreached(httpx2.ReadError("")) == "ReadError"
