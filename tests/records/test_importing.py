"""Imports without garbage collections."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from lro_gateway.records.importing import imported

_MODULE = "import gc\nHAS_COLLECTIONS = gc.isenabled()\n"


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_module_is_imported_without_garbage_collections(
    is_enabled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards the collector runs if it ran before, and does not visit the module."""
    name = f"imported_once_{is_enabled}"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (gc.enable if is_enabled else gc.disable)()
    frozen = gc.get_freeze_count()
    try:
        module = imported(name)
        assert module.HAS_COLLECTIONS is False
        assert gc.isenabled() is is_enabled
        assert (gc.get_freeze_count() > frozen) is is_enabled
    finally:
        gc.enable()


def test_a_module_that_is_known_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was made, so the collector visits what it visited before."""
    monkeypatch.setattr(gc, "freeze", pytest.fail)
    assert imported("pathlib").Path is Path


def test_garbage_collection_goes_on_after_an_import_that_fails() -> None:
    """The error is Python's own."""
    with pytest.raises(ModuleNotFoundError):
        imported("lro_gateway.no_such_module")
    assert gc.isenabled()
