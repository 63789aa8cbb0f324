"""Contents of files that are read again when the files change. The tests of TLS use them."""

from __future__ import annotations

from pathlib import Path

from lro_gateway.backends.reloading import versions_of
from tests.certificates import Authority


def test_the_version_of_a_file_changes_with_the_file_behind_a_link(tmp_path: Path) -> None:
    """Kubernetes replaces a link to a directory when a secret changes."""
    one, other = (Authority(tmp_path, name).file for name in ("one", "other"))
    link = tmp_path / "ca.pem"
    link.symlink_to(one)
    before = versions_of([link])
    assert versions_of([link]) == before
    link.unlink()
    assert versions_of([link]) == (None,)
    link.symlink_to(other)
    assert versions_of([link]) not in (before, (None,))
