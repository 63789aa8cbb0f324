"""Tool names: unique, stable, and short enough for every MCP client."""

from __future__ import annotations

from lro_gateway.service.catalog import RESERVED_NAMES
from lro_gateway.service.tool_names import MAX_NAME, all_names, tool_names
from tests.factory import bare_method as method


def test_a_name_has_service_version_and_package_only_as_far_as_it_is_not_unique() -> None:
    """The order of the methods makes no difference."""
    expected = {
        "a.v1.Books.CreateBook": "create_book",
        "a.v1.Books.Export": "books_export",
        "a.v1.Films.Export": "films_export",
        "a.v1.Books.Check": "v1_books_check",
        "a.v2.Books.Check": "v2_books_check",
        "a.v1.Books.Copy": "a_v1_books_copy",
        "b.v1.Books.Copy": "b_v1_books_copy",
        "a.v1.Books.GetOperation": "books_get_operation",
        "Bare.Start": "start",
    }
    methods = [method(name) for name in expected]
    assert tool_names(methods, RESERVED_NAMES) == expected
    assert tool_names(reversed(methods), RESERVED_NAMES) == expected


def test_a_name_that_is_too_long_keeps_the_words_of_its_method_and_gets_a_hash() -> None:
    """The hash of a method is always the same, and different methods have different hashes."""
    long, service = "Reconcile" + "Very" * 20, "VeryLong" * 8 + "Service"
    of = [f"p.S.{long}", f"p.T.{long}", f"p.{service}.Run", f"p.{service}2.Run", "p.S._"]
    names = tool_names([method(name) for name in of], frozenset())
    kept = {name: short.rpartition("_")[0] for name, short in names.items()}
    assert kept == {
        of[0]: "reconcile_very_very_very_very_very_very_very_very_very",
        of[1]: "reconcile_very_very_very_very_very_very_very_very_very",
        of[2]: "very_long_very_long_very_long_very_long_service_run",
        of[3]: "very_long_very_long_very_long_very_long_service2_run",
        of[4]: "",
    }
    assert names["p.S._"] == "s"
    assert all(len(name) <= MAX_NAME for name in names.values())
    assert len(set(names.values())) == len(of)
    assert names == tool_names([method(name) for name in reversed(of)], frozenset())


def test_each_name_that_a_tool_may_have_is_known() -> None:
    """A client can call a tool by a name that it had with fewer or more other methods."""
    export = method("a.v1.Books.Export")
    names = all_names(export)
    assert {"export", "books_export", "v1_books_export", "a_v1_books_export"} <= names
    for others in ([], ["a.v1.Films.Export"], ["a.v2.Books.Export"], ["b.v1.Books.Export"]):
        named = tool_names([export, *map(method, others)], RESERVED_NAMES)
        assert named["a.v1.Books.Export"] in names
