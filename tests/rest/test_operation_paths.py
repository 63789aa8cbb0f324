"""Paths as google.longrunning.Operations reads them."""

from __future__ import annotations

import pytest

from lro_gateway.rest.operation_paths import OperationPath, decoded_whole, operation_path, path_of

READS = ("GET", "HEAD", "DELETE")
LISTS = ("GET", "HEAD")


@pytest.mark.parametrize(
    ("path", "custom_verb", "at", "last", "verbs"),
    [
        (b"/v1/operations", "", 1, 1, LISTS),
        (b"/v1/a/operations?x=1", "", 2, 2, LISTS),
        (b"/v1/a/operations:watch", "watch", 2, 2, LISTS),
        (b"/v1beta1/a/operations/1", "", 2, 3, READS),
        (b"/v1p1beta1/operations/1", "", 1, 2, READS),
        (b"/v10/operations/a/b/1", "", 1, 4, READS),
        (b"/v1/a/operations/1:cancel", "cancel", 2, 3, ("POST",)),
        (b"/v1/main/1:wait", "wait", None, 2, ("POST",)),
        (b"/v1/main/1:stop", "", None, 2, READS),
        (b"/v1/main:cancel/1", "", None, 2, READS),
        (b"/v1/main/1%3Acancel", "", None, 2, READS),
        (b"/v1/a/operations/b/1", "", None, 4, READS),
    ],
)
def test_a_path_with_a_version_has_the_verbs_of_operations(
    path: bytes, custom_verb: str, at: int | None, last: int, verbs: tuple[str, ...]
) -> None:
    """The segment `operations` decides whether the path is one of Operations."""
    found = operation_path(path)
    assert found == OperationPath(custom_verb, at, last)
    assert found.verbs == verbs


def test_a_path_may_name_the_backend_or_leave_the_name_to_the_query() -> None:
    """No method has the path of a full name."""
    for path in (b"/v1///b/jobs/1", b"/v1/-/backends/b/jobs/1:wait", b"/v1///b/operations"):
        found = operation_path(path)
        assert found is not None
        assert found.is_full
    for path in (b"/v1/-", b"/v1/-:cancel?name=jobs/1"):
        found = operation_path(path)
        assert found is not None
        assert found.is_in_field


@pytest.mark.parametrize(
    "path",
    [b"/operations", b"/v1", b"/v0/x", b"/V1/x", b"/v1x/x", b"/v1:purge", b"", b"/compute/v1/x"],
)
def test_a_path_without_a_version_is_never_one_of_operations(path: bytes) -> None:
    """Only a method can have such a path."""
    assert operation_path(path) is None


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        (b"/v1/a%2Fb/operations", b"/v1/a/b/operations"),
        (b"/v1/a%2fb%2Foperations%2f1:wait?x=%2F", b"/v1/a/b/operations/1:wait?x=%2F"),
        (b"/v1/a%2Fb/c%2Fd", b"/v1/a/b/c%2Fd"),
        (b"/v1/a%2Fb%252Fc", b"/v1/a/b%252Fc"),
    ],
)
def test_a_name_that_is_encoded_whole_gets_its_slashes(path: bytes, decoded: bytes) -> None:
    """Only its own slashes are decoded, and only once."""
    assert decoded_whole(path) == decoded


@pytest.mark.parametrize(
    "path", [b"/v1/a/b%2Fc", b"/v1/a%252Fb/c", b"/v1/a/b", b"/v1%2Fa", b"/v1/a?b=c%2Fd"]
)
def test_a_slash_in_a_later_segment_stays_encoded(path: bytes) -> None:
    """A segment of a name may hold a slash, but the collection at its start does not."""
    assert decoded_whole(path) is None


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("databases/a/operations/1", "/v1/databases/a/operations/1"),
        ("//east/jobs/\u00fc:cancel", "/v1///east/jobs/%C3%BC%3Acancel"),
        ("projects/-/operations/1", "/v1/projects/-/operations/1"),
        ("a/operations", "/v1/-?name=a/operations"),
        ("//east/a/../b", "/v1/-?name=//east/a/../b"),
        ("a/./b&c", "/v1/-?name=a/./b%26c"),
        ("webhooks/1", "/v1/-?name=webhooks/1"),
        ("-", "/v1/-?name=-"),
    ],
)
def test_an_operation_is_read_at_a_path_that_means_no_other_one(name: str, path: str) -> None:
    """A name that a path cannot have is in the query."""
    assert path_of(name) == path
