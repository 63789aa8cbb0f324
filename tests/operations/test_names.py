"""Operation names: their syntax, the patterns that match them, and their two forms."""

from __future__ import annotations

import re
from itertools import product

import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.names import (
    BackendName,
    NameMapping,
    NamePattern,
    collection_of,
    full_name,
    is_relative,
    may_be_same,
    one_slash_name,
    overlapping,
    parent_of,
    split_full_name,
    validate_backend_name,
    validate_name,
)

GOOD_NAMES = (
    "operations/1",
    "main/0f3c-uuid",
    "projects/p/locations/l/operations/o",
    "a",
    "a..b/c.d",
    "...",
    "projects/é/operations/日本",
    "operations/with space",
    "operations/a%2Fb:c@d",
    "x" * 10_000,
)
BAD_NAMES = {
    "": "a name is needed, such as projects/p/operations/123",
    "/operations/1": "has an empty segment: no leading, trailing or double slash",
    "operations/1/": "has an empty segment: no leading, trailing or double slash",
    "operations//1": "has an empty segment: no leading, trailing or double slash",
    "/": "has an empty segment: no leading, trailing or double slash",
    "..": "has a segment that is a relative path",
    "operations/../1": "has a segment that is a relative path",
    "./operations/1": "has a segment that is a relative path",
    "operations/1\n": "contains a control character",
    "operations/\x001": "contains a control character",
    "operations/\x7f": "contains a control character",
    "operations/\x85": "contains a control character",
    "operations/\u2028": "contains a control character",
    "operations/\ud800": "contains a control character",
}


@pytest.mark.parametrize("name", GOOD_NAMES, ids=ascii)
def test_a_relative_resource_name_is_accepted(name: str) -> None:
    """Names of AIP-122 and other Unicode text are accepted, because backends check the rest."""
    validate_name(name)


@pytest.mark.parametrize(("name", "problem"), BAD_NAMES.items(), ids=lambda text: ascii(text)[:40])
def test_a_malformed_name_is_an_invalid_argument_with_the_problem(name: str, problem: str) -> None:
    """The error text names the argument and the problem in ASCII, and there are two details."""
    with pytest.raises(StatusError) as caught:
        validate_name(name, "operation")
    status = caught.value.status
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (caught.value.code, info.reason) == (Code.INVALID_ARGUMENT, "INVALID_NAME")
    assert [violation.field for violation in request.field_violations] == ["operation"]
    assert status.message.startswith("operation: ")
    assert status.message.endswith(problem)
    assert status.message.isascii()


def test_the_text_of_a_bad_name_is_cut_in_the_error() -> None:
    """The error for a name of 100,000 characters has less than 1000 bytes."""
    with pytest.raises(StatusError) as caught:
        validate_name("/" + "x" * 100_000)
    assert len(caught.value.status.SerializeToString()) < 1000


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("//builds/operations/1", ("builds", "operations/1")),
        ("//builds/a/b/c", ("builds", "a/b/c")),
        ("//builds", ("builds", "")),
        ("//", ("", "")),
        ("//builds//a//", ("builds", "/a//")),
        ("-/backends/builds/operations/1", ("builds", "operations/1")),
        ("-/backends/builds", ("builds", "")),
        ("-/backends/builds//a/", ("builds", "/a/")),
        ("-/backends", (None, "-/backends")),
        ("/-/backends/builds/1", (None, "/-/backends/builds/1")),
        ("operations/1", (None, "operations/1")),
        ("/operations/1", (None, "/operations/1")),
        ("", (None, "")),
    ],
)
def test_a_full_resource_name_is_split_at_its_backend(
    name: str, split: tuple[str | None, str]
) -> None:
    """A full resource name starts with two slashes (AIP-122) or with `-/backends/`."""
    assert split_full_name(name) == split


@given(backend=st.from_regex(r"[a-z][a-z0-9-]*", fullmatch=True), name=st.text(min_size=1))
def test_a_full_resource_name_is_split_as_it_was_made(backend: str, name: str) -> None:
    """`split_full_name` returns the arguments of `full_name` and of `one_slash_name`."""
    assert split_full_name(full_name(backend, BackendName(name))) == (backend, name)
    assert split_full_name(one_slash_name(backend, name)) == (backend, name)


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda text: ascii(text)[:40])
def test_a_backend_may_give_every_name_that_protobuf_can_carry(name: str) -> None:
    """The empty name means no name, and a lone surrogate cannot be in a protobuf string."""
    assert not is_relative(name)
    if name in {"", "operations/\ud800"}:
        with pytest.raises(StatusError):
            validate_backend_name(name)
    else:
        validate_backend_name(name)


@pytest.mark.parametrize("name", GOOD_NAMES, ids=lambda text: ascii(text)[:40])
def test_a_well_formed_name_is_relative_unless_it_begins_like_a_full_name(name: str) -> None:
    """The gateway would read the text after `-/backends/` as the name of a backend."""
    assert is_relative(name)
    assert not is_relative(f"-/backends/{name}")


@pytest.mark.parametrize(
    ("name", "parent", "collection"),
    [
        ("", "", "operations"),
        ("operations", "", "operations"),
        ("projects/p", "projects/p", "projects/p/operations"),
        ("projects/p/operations", "projects/p", "projects/p/operations"),
        ("projects/myoperations", "projects/myoperations", "projects/myoperations/operations"),
        ("projects/p/operations/operations", "projects/p", "projects/p/operations"),
        ("operations/operations", "", "operations"),
    ],
)
def test_a_list_can_be_of_a_parent_or_of_its_collection(
    name: str, parent: str, collection: str
) -> None:
    """Some backends take the parent and some the collection, so each follows from the other."""
    assert (parent_of(name), collection_of(parent_of(name))) == (parent, collection)


@pytest.mark.parametrize(
    ("pattern", "name", "variables"),
    [
        ("operations/*", "operations/1", {}),
        ("operations/*", "operations/1/2", None),
        ("operations/*", "operations", None),
        ("operations/*", "operations/", None),
        ("operations/*", "xoperations/1", None),
        ("operations/*", "operations/1\n", {}),
        ("a.b/*", "aXb/1", None),
        ("projects/*/operations/**", "projects/p/operations/1/2/3", {}),
        ("projects/*/operations/**", "projects/p/operations", None),
        ("**", "a", {}),
        ("**", "a/b", {}),
        ("**", "a//b", None),
        ("**", "", None),
        ("**/operations/*", "x/y/operations/1", {}),
        ("**/operations/*", "operations/1", None),
        ("{project}/{id}", "p/1", {"project": "p", "id": "1"}),
        ("{path=**}/operations/{id=*}", "a/b/operations/1", {"path": "a/b", "id": "1"}),
    ],
)
def test_a_pattern_matches_whole_names(
    pattern: str, name: str, variables: dict[str, str] | None
) -> None:
    """`*` matches one segment, and `**` matches one or more. A match returns the variables."""
    assert NamePattern.parse(pattern).match(name) == variables


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "the segment '' is neither"),
        ("a//b", "the segment '' is neither"),
        ("/a", "the segment '' is neither"),
        ("a/b*", "the segment 'b*' is neither"),
        ("a/***", "the segment '***' is neither"),
        ("a/{}", "the segment '{}' is neither"),
        ("a/{1x}", "the segment '{1x}' is neither"),
        ("a/{x", "the segment '{x' is neither"),
        ("a/{x=b}", "the segment '{x=b}' is neither"),
        ("a b/*", "the segment 'a b' is neither"),
        ("**/a/**", "has more than one **"),
        ("{x=**}/{y=**}", "has more than one **"),
        ("{x}/{x}", "uses a variable twice"),
    ],
)
def test_a_malformed_pattern_is_refused_with_the_reason(pattern: str, problem: str) -> None:
    """The error text starts with the pattern in quotes."""
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        NamePattern.parse(pattern)
    assert str(caught.value).startswith(repr(pattern))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", True),
        ("projects", True),
        ("projects/p", True),
        ("projects/p/operations", True),
        ("projects/p/operations/1", True),
        ("projects/p/operations/1/2", False),
        ("project", False),
        ("projects/p/jobs", False),
    ],
)
def test_a_pattern_matches_the_ancestors_of_its_names(name: str, expected: bool) -> None:
    """The router needs this for lists, because the name in a list is an ancestor."""
    assert NamePattern.parse("projects/*/operations/*").matches_prefix(name) is expected


ALPHABET = ("a", "b")
SMALL_PATTERNS = [
    NamePattern.parse("/".join(segments))
    for length in (1, 2, 3)
    for segments in product((*ALPHABET, "*", "**"), repeat=length)
    if segments.count("**") <= 1
]
SMALL_NAMES = [
    "/".join(segments)
    for length in range(1, 7)
    for segments in product((*ALPHABET, "c"), repeat=length)
]


def test_patterns_overlap_exactly_when_some_name_matches_both() -> None:
    """The test tries all patterns of up to three segments with all names of up to six."""
    matched = [{name for name in SMALL_NAMES if p.match(name) is not None} for p in SMALL_PATTERNS]
    wrong = [
        (one.text, other.text)
        for one, names in zip(SMALL_PATTERNS, matched, strict=True)
        for other, other_names in zip(SMALL_PATTERNS, matched, strict=True)
        if one.overlaps(other) != bool(names & other_names)
    ]
    assert wrong == []


segments = st.sampled_from(["a", "b", "operations", "é", "x.y", "a+b", "*", "**", "{v}", "{w=*}"])
patterns = (
    st.lists(segments, min_size=1, max_size=6)
    .filter(lambda parts: all(parts.count(p) <= 1 for p in ("**", "{v}", "{w=*}")))
    .map("/".join)
    .map(NamePattern.parse)
)


@st.composite
def names_of(draw: st.DrawFn, pattern: NamePattern) -> str:
    """Draw a name that matches a pattern."""
    plain = st.sampled_from(["a", "b", "operations", "é", "x.y", "a+b"])
    parts: list[str] = []
    for part in pattern.text.split("/"):
        if part == "**" or part.endswith("=**}"):
            parts += draw(st.lists(plain, min_size=1, max_size=3))
        else:
            parts.append(draw(plain) if part[0] in "*{" else part)
    return "/".join(parts)


@given(data=st.data(), one=patterns, other=patterns)
def test_patterns_that_share_a_name_overlap(
    data: st.DataObject, one: NamePattern, other: NamePattern
) -> None:
    """If a name of one pattern matches another pattern, the two overlap."""
    name = data.draw(names_of(one))
    assert one.match(name) is not None
    if other.match(name) is not None:
        assert one.overlaps(other)
        assert other.overlaps(one)


PAIRS = (
    ("{instance}/{id}", "projects/build/locations/{instance}/operations/{id}"),
    ("operations/{id}", "projects/p/operations/{id}"),
    ("{rest=**}/jobs/{id}", "{id}/of/{rest=**}"),
    ("a/{x}/{y}", "{y}/{x}"),
    ("{id}", "{id}/x"),
)


@given(data=st.data(), pair=st.sampled_from(PAIRS))
def test_a_pair_maps_every_name_there_and_back(data: st.DataObject, pair: tuple[str, str]) -> None:
    """A name is unchanged after it is mapped to the other form and back."""
    mapping = NameMapping.parse(*pair)
    own = data.draw(names_of(mapping.backend))
    public = mapping.to_gateway(BackendName(own))
    assert public is not None
    assert mapping.to_backend(public) == own
    shown = data.draw(names_of(mapping.gateway))
    mapped = mapping.to_backend(shown)
    assert mapped is not None
    assert mapping.to_gateway(mapped) == shown


def test_a_pair_maps_names_and_parents() -> None:
    """Names and parents of the backend's form are mapped to the gateway's form, and back."""
    mapping = NameMapping.parse(
        "{instance}/{id}", "projects/b/locations/{instance}/operations/{id}"
    )
    assert mapping.to_gateway(BackendName("main/1")) == "projects/b/locations/main/operations/1"
    assert mapping.to_backend("projects/b/locations/main/operations/1") == "main/1"
    assert mapping.to_gateway(BackendName("main/1/2")) is None
    assert mapping.to_backend("projects/c/locations/main/operations/1") is None
    assert mapping.parent_to_backend("projects/b/locations/main") == "main"
    assert mapping.parent_to_gateway(BackendName("main")) == "projects/b/locations/main"
    assert mapping.parent_to_backend("projects/b") is None


def test_a_pair_of_names_at_the_top_maps_its_parent_to_nothing() -> None:
    """The parent of `operations/1` is empty, so such a backend is listed with an empty name."""
    mapping = NameMapping.parse("operations/{id}", "projects/p/operations/{id}")
    assert mapping.parent_to_backend("projects/p") == ""
    assert mapping.parent_to_gateway(BackendName("")) == "projects/p"


def test_an_id_of_several_segments_has_no_parent_to_map() -> None:
    """If `**` is the id, a parent cannot be distinguished from a part of the id."""
    mapping = NameMapping.parse("operations/{id=**}", "p/operations/{id=**}")
    assert mapping.parent_to_backend("p") is None
    assert mapping.parent_to_gateway(BackendName("")) is None


def test_a_pattern_that_is_no_pair_maps_names_and_ancestors_to_themselves() -> None:
    """The backend's form and the gateway's form are the same."""
    mapping = NameMapping.parse("projects/*/operations/*")
    for name in ("projects/p/operations/1", "projects/x/operations/y"):
        assert (mapping.to_gateway(BackendName(name)), mapping.to_backend(name)) == (name, name)
    assert mapping.to_backend("jobs/1") is None
    assert mapping.parent_to_backend("projects/p") == "projects/p"
    assert mapping.parent_to_gateway(BackendName("projects")) == "projects"
    assert mapping.parent_to_backend("jobs") is None


@pytest.mark.parametrize(
    ("backend", "gateway", "problem"),
    [
        ("a/*", "b/{id}", "'a/*' belongs to a pair, so name its wildcards, as in {id}"),
        ("a/{id}", "b/*", "'b/*' belongs to a pair, so name its wildcards, as in {id}"),
        ("a/{x}", "b/{y}", "'a/{x}' and 'b/{y}' do not share the variables x, y"),
        ("a/{x}", "b/{x}/{y}", "'a/{x}' and 'b/{x}/{y}' do not share the variables y"),
        ("a/{x=**}", "b/{x}", "'a/{x=**}' and 'b/{x}' do not share the variables x"),
    ],
)
def test_a_pair_that_could_not_be_reversed_is_refused(
    backend: str, gateway: str, problem: str
) -> None:
    """Every wildcard needs a variable, which must be the same kind of wildcard in both patterns."""
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        NameMapping.parse(backend, gateway)


def _conflicts(**owned: list[tuple[str, ...]]) -> list[tuple[str, str, str, str]]:
    mappings = {
        backend: tuple(NameMapping.parse(*pair) for pair in pairs)
        for backend, pairs in owned.items()
    }
    return [(a, p.text, b, q.text) for (a, p), (b, q) in overlapping(mappings)]


def test_patterns_of_two_backends_must_not_share_names() -> None:
    """A name in the gateway's form has one owner. The backends' own forms may be the same."""
    assert _conflicts(one=[("a/*",)], two=[("*/b",)]) == [("one", "a/*", "two", "*/b")]
    assert _conflicts(one=[("a/{x}", "one/{x}")], two=[("a/{x}", "two/{x}")]) == []
    assert _conflicts(one=[("a/{x}", "c/{x}")], two=[("c/*",)]) == [("one", "c/{x}", "two", "c/*")]


def test_patterns_of_one_backend_may_overlap_unless_they_map_a_name_differently() -> None:
    """Plain patterns map a name to itself, but a pair maps it to another name."""
    assert _conflicts(one=[("a/*",), ("*/b",)]) == []
    assert _conflicts(one=[("a/{x}", "c/{x}"), ("c/*",)]) == [("one", "c/{x}", "one", "c/*")]
    assert _conflicts(one=[("a/{x}", "c/{x}"), ("a/{x}", "d/{x}")]) == [
        ("one", "a/{x}", "one", "a/{x}")
    ]
    assert _conflicts(one=[("a/{x}", "c/{x}"), ("a/*",)]) == [("one", "a/{x}", "one", "a/*")]


@pytest.mark.parametrize(
    ("requested", "answered", "same"),
    [
        ("jobs/1", "jobs/1", True),
        ("jobs/1", "", True),
        ("projects/p/jobs/1", "jobs/1", True),
        ("1", "projects/p/jobs/1", True),
        ("projects/p/jobs/1", "projects/42/jobs/1", True),
        ("jobs/AB", "jobs/ab", True),
        ("jobs/1", "jobs/1/attempts/2", True),
        ("jobs/1/attempts/2", "jobs/1", True),
        ("jobs/1", "jobs/2", False),
        ("jobs/1", "jobs/11", False),
        ("jobs/11", "jobs/1", False),
        ("a", "b", False),
    ],
)
def test_names_that_may_be_two_forms_of_one_name(requested: str, answered: str, same: bool) -> None:
    """A backend may answer with another form of the name than the caller's."""
    assert may_be_same(BackendName(requested), BackendName(answered)) is same
