"""The router: each name leads to one backend, also the names that the gateway returns."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lro_gateway.backends.router import Route, Router
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName, NameMapping, full_name, one_slash_name

PAIR = ("{instance}/{id}", "projects/build/locations/{instance}/operations/{id}")
ROUTER = Router(
    {
        "jobs": (NameMapping.parse("jobs/*"), NameMapping.parse("jobs/*/operations/**")),
        "builds": (NameMapping.parse(*PAIR),),
        "one": (),
        "two": (),
    }
)
SEGMENTS = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="/."), min_size=1
)
LITERALS = st.sampled_from(["jobs", "operations", "projects", "main", "-", "backends", "one"])
NAMES = st.lists(SEGMENTS | LITERALS, min_size=1).map("/".join)
ODD_SEGMENTS = st.sampled_from(
    ["", ".", "..", "\n", "\0", "\u2028", "%2F", " ", "?", "#", "x:cancel"]
)
ODD_NAMES = st.lists(SEGMENTS | LITERALS | ODD_SEGMENTS, min_size=1).map("/".join).filter(bool)


@example(name="//jobs/jobs/1", backend="jobs")
@example(name="-/backends/jobs/jobs/1", backend="one")
@example(name="main/..", backend="builds")
@example(name="projects/build/locations/x/operations/..", backend="builds")
@example(name="jobs/\n", backend="jobs")
@given(name=ODD_NAMES, backend=st.sampled_from(ROUTER.backends))
def test_every_name_that_a_backend_gives_can_be_given_back(name: str, backend: str) -> None:
    """This holds for the returned name, for both full forms, and for the name with its backend."""
    route = Route(backend, BackendName(name))
    public = ROUTER.public_name(backend, BackendName(name))
    assert ROUTER.find(public) == route
    assert ROUTER.find(public, backend) == route
    assert ROUTER.find(ROUTER.name_within(backend, public), backend) == route
    assert ROUTER.find(full_name(backend, route.name)) == route
    assert ROUTER.find(one_slash_name(backend, name)) == route


@example(name="projects/build/locations/x/operations/y", backend="builds")
@given(name=NAMES, backend=st.sampled_from(ROUTER.backends))
def test_a_public_name_leads_back_to_the_name_that_the_backend_gave(
    name: str, backend: str
) -> None:
    """This holds for any name of any backend, without the argument `backend`."""
    public = ROUTER.public_name(backend, BackendName(name))
    assert ROUTER.find(public) == Route(backend, BackendName(name))


@given(name=NAMES, backend=st.sampled_from(ROUTER.backends))
def test_a_full_name_has_the_same_route_as_the_argument_backend(name: str, backend: str) -> None:
    """A backend with pairs is an exception, because its full names have the backend's form."""
    full = ROUTER.find(f"//{backend}/{name}")
    assert full == Route(backend, BackendName(name))
    if backend != "builds":
        assert ROUTER.find(name, backend) == full


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("jobs/*", "jobs/*"),
        ("jobs/*", "*/1"),
        ("**", "a/b"),
        ("a/**", "a/*/b"),
        ("{x=**}/operations/{y}", "projects/*/operations/*"),
    ],
)
def test_patterns_that_share_a_name_are_refused_when_the_router_is_built(
    one: str, other: str
) -> None:
    """The error comes at the start, and not at the first call with a shared name."""
    with pytest.raises(ValueError, match="overlap"):
        Router({"a": (NameMapping.parse(one),), "b": (NameMapping.parse(other),)})


@pytest.mark.parametrize(
    ("name", "backend", "reason"),
    [
        ("", "", "INVALID_NAME"),
        ("//", "", "UNKNOWN_BACKEND"),
        ("///jobs/1", "", "UNKNOWN_BACKEND"),
        ("//jobs", "", "INVALID_NAME"),
        ("//jobs/", "", "INVALID_NAME"),
        ("-/backends/jobs/", "", "INVALID_NAME"),
        ("-/backends/nobody/1", "", "UNKNOWN_BACKEND"),
        ("-/backends/jobs/1", "one", "BACKEND_MISMATCH"),
        ("//jobs/\ud800", "", "INVALID_NAME"),
        ("/jobs/1", "", "INVALID_NAME"),
        ("", "jobs", "INVALID_NAME"),
        ("//nobody/1", "", "UNKNOWN_BACKEND"),
        ("jobs/1", "nobody", "UNKNOWN_BACKEND"),
        ("//jobs/1", "one", "BACKEND_MISMATCH"),
        ("x/1", "", "AMBIGUOUS_NAME"),
    ],
)
def test_a_name_without_a_route_fails_with_a_reason(name: str, backend: str, reason: str) -> None:
    """Each kind of problem has its own reason."""
    with pytest.raises(StatusError) as caught:
        ROUTER.find(name, backend)
    assert caught.value.reason == reason


def test_an_empty_name_stays_empty() -> None:
    """A start with `validate_only` may return an operation without a name."""
    assert ROUTER.public_name("one", BackendName("")) == ""


def test_a_parent_in_the_gateways_form_is_mapped_back() -> None:
    """A caller can list a parent that `unreachable` has named."""
    parent = ROUTER.public_parent("builds", BackendName("main"))
    assert parent == "projects/build/locations/main"
    assert ROUTER.find_parents(parent) == (Route("builds", BackendName("main")),)


def test_a_name_that_looks_like_another_backends_does_not_lead_there() -> None:
    """Otherwise a caller could cancel an operation of another backend by mistake."""
    router = Router({"jobs": (NameMapping.parse("jobs/*"),), "rest": ()})
    own = BackendName("//jobs/jobs/1")
    assert router.public_name("rest", own) == "//rest///jobs/jobs/1"
    assert router.find("//rest///jobs/jobs/1") == Route("rest", own)


@pytest.mark.parametrize("name", ["/uploads/1", "a//b", "//uploads/1", "-/backends/x/1", "a/\n"])
def test_a_name_is_taken_as_it_is_if_the_caller_names_the_backend(name: str) -> None:
    """The text after the slashes is a part of the name, unless it is a backend."""
    assert ROUTER.find(name, "one") == Route("one", BackendName(name))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("one/x/1", "; if a proxy has merged the slashes of //one/..., write -/backends/one/..."),
        ("x/one/1", "there are: one, two"),
        ("one", "there are: one, two"),
    ],
)
def test_a_name_whose_slashes_a_proxy_has_merged_is_explained(name: str, advice: str) -> None:
    """Such a name begins with the name of a backend."""
    with pytest.raises(StatusError) as caught:
        ROUTER.find(name)
    assert caught.value.reason == "AMBIGUOUS_NAME"
    assert caught.value.message.endswith(advice)
