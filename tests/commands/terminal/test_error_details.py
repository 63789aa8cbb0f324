"""The details of errors, as a person reads them."""

from __future__ import annotations

from lro_gateway.commands.terminal.error_details import lines_of

_GOOGLE = "type.googleapis.com/google.rpc."


def test_each_standard_detail_has_words_of_its_own() -> None:
    """A detail of another type, or one that cannot be read, is shown as YAML and cut if long."""
    assert lines_of(
        [
            {"@type": f"{_GOOGLE}ErrorInfo", "reason": "X", "domain": "d", "metadata": {"a": "b"}},
            {
                "@type": f"{_GOOGLE}BadRequest",
                "fieldViolations": [{"field": "f", "description": "t"}],
            },
            {
                "@type": f"{_GOOGLE}QuotaFailure",
                "violations": [{"subject": "s", "description": "t"}],
            },
            {
                "@type": f"{_GOOGLE}PreconditionFailure",
                "violations": [{"type": "T", "subject": "s", "description": "t"}],
            },
            {"@type": f"{_GOOGLE}RetryInfo", "retryDelay": "5s"},
            {"@type": f"{_GOOGLE}Help", "links": [{"description": "t", "url": "https://x.test"}]},
            {"@type": f"{_GOOGLE}ResourceInfo", "resourceType": "T", "resourceName": "n"},
            {"@type": f"{_GOOGLE}RequestInfo", "requestId": "r"},
            {"@type": f"{_GOOGLE}LocalizedMessage", "locale": "en", "message": "m"},
            {"@type": f"{_GOOGLE}DebugInfo", "stackEntries": ["f()"], "detail": "d"},
            {"@type": "type.googleapis.com/acme.ErrorInfo", "metadata": ["a"]},
            {"@type": f"{_GOOGLE}Help", "@value": "//8=", "@error": "broken"},
            {"@type": "type.googleapis.com/a.Other", "values": list(range(20))},
            {},
        ]
    ) == [
        *("Reason: X (d)", "  a: b", "Field f: t", "Quota of s: t", "Precondition T s: t"),
        *("Retry after 5s", "See https://x.test t", "Resource T n", "Request r", "m"),
        *("Debug: d", "  f()", "ErrorInfo:", "  metadata:", "  - a"),
        *("Help:", "  '@value': //8=", "  '@error': broken"),
        *("Other:", "  values:", *(f"  - {n}" for n in range(11))),
        "  ... and 9 more lines; --raw shows all",
        *("Detail:", "  {}"),
    ]
