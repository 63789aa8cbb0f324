"""Reading methods from descriptors."""

from __future__ import annotations

import pytest

from lro_gateway.descriptors.http_rules import HttpBinding
from lro_gateway.descriptors.methods import Method, snake_words
from tests.factory import SERVICE, descriptor, method, types


def test_a_method_is_made_from_its_descriptor() -> None:
    """A method has all its HTTP bindings, and the full names of its announced types."""
    operation = types().message_class("google.longrunning.Operation")
    assert operation is not None
    assert method("BuildMachine") == Method(
        "factory.v1.Factory.BuildMachine",
        descriptor("BuildMachineRequest"),
        operation.DESCRIPTOR,  # type: ignore[arg-type]  # the stub knows two classes of descriptors
        response_type="factory.v1.Machine",
        metadata_type="factory.v1.BuildMetadata",
        bindings=(
            HttpBinding("POST", "/v1/{parent=lines/*}/machines", "machine", ""),
            HttpBinding("POST", "/v1/machines:build", "*", ""),
        ),
    )


def test_unary_and_streaming_methods_are_listed_separately_in_file_order() -> None:
    """Streaming methods are listed only by name, because they cannot be offered."""
    names = [each.name for each in types().methods_of(SERVICE)]
    assert names == ["BuildMachine", "UpdateMachine", "DeleteMachine", "Overhaul", "GetMachine"]
    assert types().streaming_methods_of(SERVICE) == ("factory.v1.Factory.WatchMachines",)


def test_an_announced_type_with_a_dot_is_a_full_name() -> None:
    """By AIP-4210, only a name without a dot is in the package of the method."""
    deleting = method("DeleteMachine")
    assert (deleting.response_type, deleting.metadata_type) == (
        "google.protobuf.Empty",
        "google.protobuf.Duration",
    )


def test_a_method_may_have_no_operation_info_and_no_http_rule() -> None:
    """A method is long-running if it returns an Operation."""
    overhaul = method("Overhaul")
    assert (overhaul.response_type, overhaul.metadata_type, overhaul.bindings) == ("", "", ())
    assert (overhaul.is_long_running, overhaul.deprecated) == (True, True)


def test_a_request_id_is_the_key_by_which_a_call_may_be_repeated() -> None:
    """AIP-155 defines the field. `tests/service/test_starting.py` tests other meanings."""
    key = method("BuildMachine").idempotency_key
    assert key == descriptor("BuildMachineRequest").fields_by_name["request_id"]
    assert method("UpdateMachine").idempotency_key is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CreateDatabase", ("create", "database")),
        ("ExportQueryV2", ("export", "query", "v2")),
        ("GetIAMPolicy", ("get", "iam", "policy")),
        ("BuildHTTP2Route", ("build", "http2", "route")),
        ("get_thing", ("get", "thing")),
        ("_", ()),
    ],
)
def test_a_name_is_split_into_words(name: str, words: tuple[str, ...]) -> None:
    """A word begins at an upper-case letter. Abbreviations and versions are one word."""
    assert snake_words(name) == words
