"""The files of TLS: their versions and their contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.backends.tls_files import Tls, TlsContents
from tests.certificates import Authority


def test_the_contents_show_no_key(tmp_path: Path) -> None:
    """The certificates are no secrets."""
    identity = Authority(tmp_path).issue("client")
    contents = TlsContents.read(Tls(cert=identity.certificate, key=identity.key))
    assert "PRIVATE KEY" not in repr(contents)
    assert "CERTIFICATE" in repr(contents)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    """The two files may change one after the other."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(ValueError, match="is not the key of the certificate"):
        TlsContents.read(Tls(cert=one.certificate, key=other.key))
