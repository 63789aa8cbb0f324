"""Path templates: parsing them, matching paths, and reading the variables."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.http_templates import (
    PathParameter,
    PathTemplate,
    Variable,
    Wildcard,
    split_custom_verb,
    split_path,
)
from lro_gateway.errors import Code, StatusError
from tests.templates import expand, match

ONE, MANY = Wildcard.ONE, Wildcard.MANY


def matched(template: str, path: str) -> dict[str, str] | None:
    """Return the variables of a template in a path, or None if the path does not match."""
    return match(PathTemplate.parse(template), path.encode())


def test_a_template_is_parsed_into_segments_variables_and_a_custom_verb() -> None:
    """A literal inside a variable is a segment, and also part of the variable's value."""
    text = "/v1/{book.name=shelves/*/books/**}:verb"
    assert PathTemplate.parse(text) == PathTemplate(
        text,
        segments=("v1", "shelves", ONE, "books", MANY),
        variables=(Variable("book.name", 1, 5, multi=True),),
        verb="verb",
    )


def test_a_variable_without_segments_takes_one() -> None:
    """By http.proto, `{var}` means `{var=*}`."""
    short, long = PathTemplate.parse("/v1/{id}"), PathTemplate.parse("/v1/{id=*}")
    assert (short.shape, short.variables) == (long.shape, long.variables)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "does not begin with a slash"),
        ("v1/books", "does not begin with a slash"),
        ("//", "has an empty segment"),
        ("/v1/", "has an empty segment"),
        ("/v1//books", "has an empty segment"),
        ("/:verb", "has an empty segment"),
        ("/v1/{name=}", "has an empty segment"),
        ("/v1/{name=a//b}", "has an empty segment"),
        ("/v1/{name", "lacks a brace or contains another variable"),
        ("/v1/name}", "a slash is needed before '}'"),
        ("/v1/}", "lacks a brace or contains another variable"),
        ("/v1/{a={b}}", "lacks a brace or contains another variable"),
        ("/v1/{}", "'' is not a field path"),
        ("/v1/{a.}", "'a.' is not a field path"),
        ("/v1/{1a=*}", "'1a' is not a field path"),
        ("/v1/a{b}", "a slash is needed before '{b}'"),
        ("/v1/{a}{b}", "a slash is needed before '{b}'"),
        ("/v1/{a}b", "a slash is needed before 'b'"),
        ("/v1/a*", "is not *, ** or URL text: 'a*'"),
        ("/v1/***", "is not *, ** or URL text: '***'"),
        ("/v1/a b", "is not *, ** or URL text: 'a b'"),
        ("/v1/a%2", "is not *, ** or URL text: 'a%2'"),
        ("/v1/%ff", "is not *, ** or URL text: '%ff'"),
        ("/v1/a:", "the custom verb is not"),
        ("/v1/{a}:b:c", "a custom verb cannot contain a colon"),
        ("/v1/**/a/**", "has more than one **"),
        ("/v1/{a=**}/{b=**}", "has more than one **"),
        ("/v1/{a}/{a}", "has two variables for one field"),
    ],
)
def test_a_malformed_template_is_an_error_that_names_the_mistake(
    template: str, problem: str
) -> None:
    """The author of a rule has only this error text to correct it."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        PathTemplate.parse(template)


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/", "/", {}),
        ("/", "/v1", None),
        ("/v1/books", "/v1/books", {}),
        ("/v1/books", "/v1/books?name=x", {}),
        ("/v1/books", "/v1/books/", None),
        ("/v1/books", "/v1/%62ooks", {}),
        ("/v1/a%2Fb", "/v1/a%2fb", {}),
        ("/v1/a:b/c", "/v1/a:b/c", {}),
        ("/v1/c:d:e", "/v1/c:d:e", {}),
        ("/v1/{id}", "/v1/x", {"id": "x"}),
        ("/v1/{id}", "/v1/a%2Fb%20%C3%A9", {"id": "a/b é"}),
        ("/v1/{id}", "/v1/é", {"id": "é"}),
        ("/v1/{id}", "/v1/a+b", {"id": "a+b"}),
        ("/v1/{id}", "/v1/", None),
        ("/v1/{id}", "/v1", None),
        ("/v1/{id}", "/v1/a/b", None),
        ("/v1/{id}", "/v1/a:b", {"id": "a:b"}),
        ("/v1/{id}", "v1/a", None),
        ("/v1/{id}", "", None),
        ("/v1/{id}", "*", None),
        ("/v1/{name=shelves/*}", "/v1/shelves/a%2Fb%20c", {"name": "shelves/a%2Fb c"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/a%2fb", {"name": "shelves/a%2fb"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/a%252Fb", {"name": "shelves/a%2Fb"}),
        ("/v1/{name=**}", "/v1/a/(default)/%28default%29", {"name": "a/(default)/(default)"}),
        ("/v1/{name=**}", "/v1/one%2Fsegment", {"name": "one%2Fsegment"}),
        ("/v1/{name=**}", "/v1", {"name": ""}),
        ("/v1/{name=**}", "/v1/", None),
        ("/v1/{name=**}", "/v1//a", None),
        ("/v1/{name=**}", "/v1/a//b", None),
        ("/v1/{name=projects/**}", "/v1/projects", {"name": "projects"}),
        ("/v1/{parent=**}/operations", "/v1/operations", {"parent": ""}),
        ("/v1/{parent=**}/operations", "/v1/a/b/operations", {"parent": "a/b"}),
        ("/v1/{a=**}/x/{b}", "/v1/1/2/x/3", {"a": "1/2", "b": "3"}),
        ("/v1/{a}/{b=x/**}/{c=y/*}", "/v1/1/x/2/y/3", {"a": "1", "b": "x/2", "c": "y/3"}),
        ("/v1/{name=*}:wait", "/v1/a:wait", {"name": "a"}),
        ("/v1/{name=*}:wait", "/v1/a:b:wait", {"name": "a:b"}),
        ("/v1/{name=*}:wait", "/v1/a:%77ait", {"name": "a"}),
        ("/v1/{name=*}:wait", "/v1/a%3Await", None),
        ("/v1/{name=*}:wait", "/v1/a", None),
        ("/v1/{name=*}:wait", "/v1/:wait", None),
        ("/v1/{name=*}:wait", "/v1/a:wait/b", None),
        ("/v1/{name=**}:wait", "/v1:wait", {"name": ""}),
        ("/v1/*/books", "/v1/any/books", {}),
    ],
)
def test_a_path_matches_as_http_proto_defines(
    template: str, path: str, variables: dict[str, str] | None
) -> None:
    """A variable of several segments keeps `%2F` encoded. An empty segment matches nothing."""
    assert matched(template, path) == variables


@pytest.mark.parametrize("raw", [b"%", b"%f", b"%zz", b"%ff", b"\xff", b"%ed%a0%80"])
@pytest.mark.parametrize("template", ["/v1/{name}", "/v1/{name=**}"])
def test_a_variable_that_is_not_percent_encoded_utf8_is_an_invalid_argument(
    template: str, raw: bytes
) -> None:
    """The error names the field of the variable."""
    with pytest.raises(StatusError) as caught:
        match(PathTemplate.parse(template), b"/v1/" + raw)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_PATH"
    assert caught.value.message.startswith("name: ")


@pytest.mark.parametrize("raw", [b"%", b"%ff", b"\xff"])
def test_a_malformed_segment_does_not_match_a_literal(raw: bytes) -> None:
    """A malformed segment is an error only where the template has a variable."""
    assert match(PathTemplate.parse("/v1/books"), b"/v1/" + raw) is None


def test_templates_have_one_shape_when_they_differ_in_variables_alone() -> None:
    """Templates of the same shape match the same paths."""
    texts = ["/v1/a/*/b/**:x", "/v1/{name=a/*/b/**}:x", "/v1/%61/{p}/{q=b/**}:x"]
    shapes = {PathTemplate.parse(text).shape for text in texts}
    assert shapes == {(("v1", "a", ONE, "b", MANY), "x")}


@pytest.mark.parametrize(
    ("template", "variables", "path"),
    [
        ("/v1/{id}", {"id": "a/b é"}, "/v1/a%2Fb%20%C3%A9"),
        ("/v1/{id}:wait", {"id": "a:b"}, "/v1/a%3Ab:wait"),
        ("/v1/{name=shelves/*}/x", {"name": "shelves/(a)"}, "/v1/shelves/%28a%29/x"),
        ("/v1/{name=**}/operations", {"name": ""}, "/v1/operations"),
    ],
)
def test_a_template_expands_to_the_path_that_googles_clients_send(
    template: str, variables: dict[str, str], path: str
) -> None:
    """All characters but `[-_.~0-9a-zA-Z]` are encoded.

    A slash is encoded only in a variable of one segment.
    """
    assert expand(PathTemplate.parse(template), variables) == path


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        ("/v1/{id}", {}),
        ("/v1/{id}", {"id": ""}),
        ("/v1/{id}", {"id": "a", "other": "b"}),
        ("/v1/{name=shelves/*}", {"name": "books/1"}),
        ("/v1/{name=shelves/*}", {"name": "shelves/1/2"}),
        ("/v1/{name=**}", {"name": "a//b"}),
    ],
)
def test_variables_that_do_not_fit_have_no_path(template: str, variables: dict[str, str]) -> None:
    """With these variables, the path would not match, or would match with other values."""
    with pytest.raises(ValueError, match="has no path with these variables"):
        expand(PathTemplate.parse(template), variables)


@dataclass(frozen=True)
class Example:
    """A template and variables that fit it."""

    template: str
    variables: dict[str, str]


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
LITERALS = st.text("abcXYZ019-._~!$&'()+,;=@", min_size=1, max_size=6)
TEXT = st.text(min_size=1, max_size=8)
PART = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=8)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Draw a template with variables of every kind, and values for them."""
    parts, variables, many = [], {}, False
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["literal", "single", "multi"]))
        name = ".".join(draw(st.lists(NAMES, min_size=1, max_size=3)))
        if kind == "literal" or name in variables:
            parts.append(draw(LITERALS))
        elif kind == "single":
            parts.append(draw(st.sampled_from([f"{{{name}}}", f"{{{name}=*}}"])))
            variables[name] = draw(TEXT)
        else:
            inner = draw(st.lists(st.sampled_from(["*", "**", "literal"]), min_size=2, max_size=4))
            segments, values = [], []
            for each in inner:
                if each == "literal" or (each == "**" and many):
                    segments.append(draw(LITERALS))
                    values.append(segments[-1])
                    continue
                many = many or each == "**"
                segments.append(each)
                values += draw(
                    st.lists(PART, min_size=each == "*", max_size=1 if each == "*" else 3)
                )
            parts.append(f"{{{name}={'/'.join(segments)}}}")
            variables[name] = "/".join(values)
    verb = draw(st.sampled_from(["", ":verb", ":custom.verb"]))
    return Example("/" + "/".join(parts) + verb, variables)


@given(examples())
def test_an_expanded_path_matches_with_the_same_variables(example: Example) -> None:
    """The values may have any characters, also colons, slashes and percent signs."""
    template = PathTemplate.parse(example.template)
    assert match(template, expand(template, example.variables).encode()) == example.variables


@given(st.text("/{}=*:.ab%2F", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_template_or_a_value_error(text: str) -> None:
    """Each template has an OpenAPI path with unique parameter names."""
    try:
        template = PathTemplate.parse(text)
    except ValueError:
        return
    names = [parameter.name for parameter in template.path_parameters()]
    assert len(set(names)) == len(names)
    assert all(f"{{{name}}}" in template.openapi_path() for name in names)


@given(examples(), st.binary(max_size=30) | st.text("/:%2Ffab", max_size=30).map(str.encode))
def test_matching_any_path_fails_with_invalid_argument_or_not_at_all(
    example: Example, path: bytes
) -> None:
    """Matching raises no other exception."""
    for text in (example.template, "/{a=**}", "/{a}/{b}", "/{a}:fab"):
        code = Code.OK
        try:
            match(PathTemplate.parse(text), b"/" + path)
        except StatusError as error:
            code = error.code
        assert code in {Code.OK, Code.INVALID_ARGUMENT}


def test_paths_are_split_before_they_are_decoded() -> None:
    """A percent-encoded slash or colon is text."""
    assert split_path(b"/v1/a%2Fb/c%3Ad?e/f") == ("v1", "a%2Fb", "c%3Ad")
    assert split_custom_verb(("v1", "a:b:c")) == (("v1", "a:b"), "c")
    assert split_custom_verb(("v1", "a%3Ab")) is None
    assert split_custom_verb(()) is None


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("/v1/{name}", "*"),
        ("/v1/{name=shelves/*/books/**}:copy", "shelves/*/books/**"),
        ("/v1/{name=a%20b/*}", "a b/*"),
    ],
)
def test_a_variable_has_the_pattern_of_its_values(template: str, pattern: str) -> None:
    """The pattern is decoded, because people read it."""
    parsed = PathTemplate.parse(template)
    (variable,) = parsed.variables
    assert parsed.pattern_of(variable) == pattern


@pytest.mark.parametrize(
    ("template", "openapi_path", "parameters"),
    [
        ("/v1/books", "/v1/books", ()),
        (
            "/v1/{name=projects/*/books/*}:copy",
            "/v1/projects/{projectsId}/books/{booksId}:copy",
            (
                PathParameter("projectsId", ONE, "name"),
                PathParameter("booksId", ONE, "name"),
            ),
        ),
        (
            "/v1/{parent=**}/books/{book.id}",
            "/v1/{name}/books/{booksId}",
            (PathParameter("name", MANY, "parent"), PathParameter("booksId", ONE, "book.id")),
        ),
        (
            "/v1/{a}/{b}/x/*/x/{c=*}",
            "/v1/{id}/{id2}/x/{xId}/x/{xId2}",
            (
                PathParameter("id", ONE, "a"),
                PathParameter("id2", ONE, "b"),
                PathParameter("xId", ONE, ""),
                PathParameter("xId2", ONE, "c"),
            ),
        ),
        ("/v1/a%20b/{c}", "/v1/a%20b/{a_bId}", (PathParameter("a_bId", ONE, "c"),)),
    ],
)
def test_a_template_has_an_openapi_path_and_its_parameters(
    template: str, openapi_path: str, parameters: tuple[PathParameter, ...]
) -> None:
    """Each wildcard is a parameter, named by its position, with the field that it is part of."""
    parsed = PathTemplate.parse(template)
    assert (parsed.openapi_path(), parsed.path_parameters()) == (openapi_path, parameters)


def test_templates_of_one_shape_have_one_openapi_path() -> None:
    """OpenAPI regards two paths as identical if only their parameter names differ."""
    texts = ["/v1/shelves/{shelf}", "/v1/{name=shelves/*}", "/v1/{shelf.name=shelves/*}"]
    assert {PathTemplate.parse(text).openapi_path() for text in texts} == {
        "/v1/shelves/{shelvesId}"
    }
