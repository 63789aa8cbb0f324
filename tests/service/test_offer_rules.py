"""What the gateway says a method does to the world."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.methods import Method
from lro_gateway.service.offer_rules import Hints, OfferRules
from tests.factory import bare_method as method

ADDS = Hints(reads=False, destroys=False, idempotent=False)


@pytest.mark.parametrize(
    ("of", "hints"),
    [
        (method("p.S.CreateBook", "POST"), ADDS),
        (method("p.S.BatchCreateBooks", "POST"), ADDS),
        (method("p.S.ExportBooks"), ADDS),
        (method("p.S.GetBook", "GET", plain=True), Hints(True, False, True)),
        (method("p.S.ListBooks", plain=True), Hints(True, False, True)),
        (method("p.S.SearchBooks"), Hints(False, None, False)),
        (method("p.S.UpdateBook", "PATCH"), Hints(False, True, True)),
        (method("p.S.ReplaceBook", "PUT"), Hints(False, True, True)),
        (method("p.S.DeleteBook", "DELETE"), Hints(False, True, True)),
        (method("p.S.BatchDeleteBooks", "POST"), Hints(False, True, True)),
        (method("p.S.PurgeBooks", "POST"), Hints(False, True, False)),
        (method("p.S.CreateRestorePoint", "POST"), ADDS),
        (method("p.S.TranslateBook", "POST"), Hints(False, None, False)),
        (method("p.S.Mixed", "GET", "POST", plain=True), Hints(False, None, False)),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else "",
)
def test_what_a_method_does_is_told_by_its_http_verb_and_its_name(of: Method, hints: Hints) -> None:
    """AIP-131 to 136; where neither tells, nothing is claimed."""
    assert OfferRules().hints_of(of) == hints


@pytest.mark.parametrize(
    ("rules", "offered"),
    [
        (OfferRules(), ["Create"]),
        (OfferRules(include=("*/Get*",)), ["Create", "Get"]),
        (OfferRules(include=("p.S/*",), exclude=("*/Create",)), ["Get"]),
        (OfferRules(exclude=("p.*",)), []),
        (OfferRules(include=("q.S/*",)), ["Create"]),
    ],
    ids=str,
)
def test_long_running_methods_are_offered_and_plain_ones_where_named(
    rules: OfferRules, offered: list[str]
) -> None:
    """Patterns are of `pkg.Service/Method`, and an exclusion wins."""
    methods = [method("p.S.Create"), method("p.S.Get", plain=True)]
    assert [each.name for each in methods if rules.offers(each)] == offered


def test_stated_hints_override_those_that_a_name_suggests() -> None:
    """Only the hints that are stated; the others stay as the name suggests."""
    rules = OfferRules(hints={"p.S/Delete*": {"destructive": False}})
    assert rules.hints_of(method("p.S.DeleteBook", "DELETE")) == Hints(False, False, True)
    assert rules.hints_of(method("p.S.PurgeBooks", "POST")) == Hints(False, True, False)
