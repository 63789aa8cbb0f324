"""The router: each name leads to one backend, also the names that the gateway returns."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lro_gateway.backends.router import Route, Router
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName, NameMapping

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
LITERALS = st.sampled_from(["jobs", "operations", "projects", "main"])
NAMES = st.lists(SEGMENTS | LITERALS, min_size=1).map("/".join)


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
        ("//jobs//1", "", "INVALID_NAME"),
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
    assert router.public_name("rest", BackendName("//jobs/jobs/1")) == "//rest///jobs/jobs/1"
    with pytest.raises(StatusError) as caught:
        router.find("//rest///jobs/jobs/1")
    assert caught.value.reason == "INVALID_NAME"
