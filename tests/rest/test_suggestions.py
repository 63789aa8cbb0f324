"""Suggestions for paths that look misspelt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.rest.suggestions import suggested_path


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("/v1/operation", "/v1/operations"),
        ("/v1/operations/", "/v1/operations"),
        ("/v1/operatons/1", "/v1/operations/1"),
        ("/v1/databases/x/opertaions/1", "/v1/databases/x/operations/1"),
        ("/V1beta1/Operations/1:Cancle", "/v1beta1/operations/1:cancel"),
        ("/operations", "/v1/operations"),
        ("/databases/x/operations/1", "/v1/databases/x/operations/1"),
        ("/api/v1/operations", "/v1/operations"),
        ("/prefix/of/proxy/v1beta1/jobs/x/operations/1", "/v1beta1/jobs/x/operations/1"),
        ("/readzy", "/readyz"),
        ("/docs/", "/docs"),
        ("/openapi.jsn", "/openapi.json"),
        ("/v1/operations", None),
        ("/v1/operations/1:cancel", None),
        ("/v1/main/5f0c", None),
        ("/v1/databases", None),
        ("/favicon.ico", None),
        ("/", None),
        ("/v1/op", None),
        ("/v1/%E9t%E9/operation", "/v1/%E9t%E9/operations"),
    ],
)
def test_a_misspelt_path_has_a_suggestion(path: str, suggestion: str | None) -> None:
    """A correct path, and a path that is like no other, have none."""
    assert suggested_path(path.encode()) == suggestion


@given(st.binary(max_size=60) | st.text("/v1:operations", max_size=40).map(str.encode))
def test_a_suggestion_is_a_path_that_needs_no_other_suggestion(path: bytes) -> None:
    """This holds for any bytes that a client sends as a path."""
    suggestion = suggested_path(b"/" + path)
    assert suggestion is None or suggested_path(suggestion.encode()) is None
