"""Offer rules: which methods are offered, and the hints on their effects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lro_gateway.descriptors.hints import Hints
from lro_gateway.descriptors.methods import Method
from lro_gateway.service.offer_rules import OfferRules
from tests import factory
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
        (method("p.S.GetBook", "GET"), Hints(False, None, False)),
        (method("p.S.RestoreBackup", "GET"), Hints(False, True, False)),
        (method("p.S.TriggerBuild", "GET", plain=True), Hints(False, None, False)),
        (method("p.S.DeleteBook", "GET", plain=True), Hints(False, True, True)),
        (method("p.S.GetOrCreateBook", "GET", plain=True), Hints(False, None, False)),
        (method("p.S.GetAndDeleteBook", "GET", plain=True), Hints(False, None, False)),
        (method("p.S.ListAndLockBooks", plain=True), Hints(False, None, False)),
        (method("p.S.LookupOrInsert", plain=True), Hints(False, None, False)),
        (method("p.S.SearchAndReplace", "GET", plain=True), Hints(False, None, False)),
        (method("p.S.CreateOrReplaceBook", "POST"), Hints(False, None, False)),
        (method("p.S.UpdateOrCreateBook", "PUT"), Hints(False, True, False)),
        (method("p.S.DeleteAndArchiveBook"), Hints(False, None, False)),
        (method("p.S.GetBook", "POST", plain=True), Hints(False, None, False)),
        (method("p.S.GetBook", "*", plain=True), Hints(False, None, False)),
        (method("p.S.BatchGetBooks", "GET", plain=True), Hints(True, False, True)),
        (method("p.S.FetchIps", "GET", plain=True), Hints(True, False, True)),
        (method("p.S.AggregatedList", "GET", plain=True), Hints(True, False, True)),
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
def test_hints_follow_from_the_http_verb_and_the_name_of_a_method(of: Method, hints: Hints) -> None:
    """The words are those of AIP-131 to AIP-136; `destroys` is None if no word is known.

    The more cautious of verb and name decides, because some services start work by GET.
    """
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
def test_long_running_methods_are_offered_and_plain_ones_if_included(
    rules: OfferRules, offered: list[str]
) -> None:
    """The patterns match `pkg.Service/Method`, and an excluded method is never offered."""
    methods = [method("p.S.Create"), method("p.S.Get", plain=True)]
    assert [each.name for each in methods if rules.offers(each)] == offered


def test_configured_hints_override_those_that_a_name_suggests() -> None:
    """Hints that are not configured still follow from the name."""
    rules = OfferRules(hints={"p.S/Delete*": {"destructive": False}})
    assert rules.hints_of(method("p.S.DeleteBook", "DELETE")) == Hints(False, False, True)
    assert rules.hints_of(method("p.S.PurgeBooks", "POST")) == Hints(False, True, False)


@pytest.mark.parametrize(
    ("of", "hints", "freely"),
    [
        (method("p.S.GetBook", "GET", plain=True), {}, True),
        (method("p.S.GetBook", "GET", plain=True), {"read_only": False}, False),
        (method("p.S.GetBook", "GET"), {}, False),
        (method("p.S.GetBook", plain=True), {}, False),
        (method("p.S.TriggerBuild", "GET", plain=True), {}, False),
        (method("p.S.TriggerBuild", "GET", plain=True), {"read_only": True}, True),
        (method("p.S.UpdateBook", "PATCH", plain=True), {}, False),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else None,
)
def test_only_a_plain_read_by_get_is_repeated_without_a_request_id(
    of: Method, hints: dict[str, bool], *, freely: bool
) -> None:
    """A method may also declare an idempotency_level. A start never counts as a read."""
    assert OfferRules(hints={"*": hints}).repeats_freely(of) == freely
    declared = replace(of, idempotency_level=1)
    assert OfferRules(hints={"*": hints}).repeats_freely(declared) == (not of.is_long_running)


def test_a_repeat_is_recognized_if_the_field_or_the_configuration_says_so() -> None:
    """The field declares the format UUID4 (AIP-4235). A pattern is for fields that do not."""
    declared, none = factory.method("BuildMachine"), factory.method("Overhaul")
    everything = OfferRules(request_ids=("*",))
    assert OfferRules().recognizes_repeats(declared)
    assert not OfferRules().recognizes_repeats(none)
    assert not everything.recognizes_repeats(none)
