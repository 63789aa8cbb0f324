"""The credentials that the OpenAPI document asks for."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from lro_gateway.rest.openapi.document import openapi_document
from lro_gateway.rest.openapi.security import secured


def test_each_path_needs_one_of_the_schemes() -> None:
    """The document stays valid, and without schemes it stays as it is."""
    document = openapi_document(("b",), "1")
    assert secured(document, ()) is document
    found = secured(document, ("bearer", "certificate"))
    validate(found, cls=OpenAPIV31SpecValidator)
    assert found["security"] == [{"bearer": []}, {"certificate": []}]
    assert found["components"]["securitySchemes"]["certificate"]["type"] == "mutualTLS"


def test_probes_need_no_credentials() -> None:
    """Kubernetes has none."""
    document = openapi_document(
        ("b",), "1", {"paths": {"/livez": {"get": {"operationId": "live", "responses": {}}}}}
    )
    paths = secured(document, ("bearer",))["paths"]
    assert paths["/livez"]["get"]["security"] == []
    assert "security" not in paths["/v1/operations"]["get"]
