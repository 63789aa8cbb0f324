"""The secret values of the configuration: keys, and the metadata of calls to backends.

No error text has a secret, or a part of one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretBytes, SecretStr, ValidationInfo

from lro_gateway.access.sealing import MIN_KEY
from lro_gateway.config.values import existing_file, relative_to_base

_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+\Z")
_METADATA_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
_ENV: Final = "env:"
FILE: Final = "file:"
_LIKE_A_KEY: Final = 16
"""The minimum length of a decoded text that may be a key, in bytes. No error prints such a text."""


class SecretFileBytes(SecretBytes):
    """A secret in bytes that a file has."""

    def __init__(self, secret: bytes, file: Path) -> None:
        super().__init__(secret)
        self.file = file


class SecretFileStr(SecretStr):
    """A secret text that a file has."""

    def __init__(self, secret: str, file: Path) -> None:
        super().__init__(secret)
        self.file = file


class SecretEnvStr(SecretStr):
    """A secret text that an environment variable has."""


def referenced(value: str, info: ValidationInfo) -> str | None:
    """Return the text that `env:NAME` or `file:PATH` refers to, or None for any other value.

    The text has no line breaks at its end, because editors and `echo` write one.
    """
    if value.startswith(_ENV):
        name = value.removeprefix(_ENV)
        text = os.environ.get(name)
        if text is None:
            raise ValueError(f"the environment has no variable {name!r}")
    elif value.startswith(FILE):
        file = existing_file(Path(value.removeprefix(FILE)), info)
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{file} has bytes that are not text in UTF-8") from None
    else:
        return None
    return text.rstrip("\r\n")


def _read_key(value: object, info: ValidationInfo) -> object:
    """Read a key from a variable or a file. `file:` may be omitted before the path of a file."""
    if not isinstance(value, str):
        return value
    if not value.startswith((_ENV, FILE)):
        if len(_decoded(value) or b"") >= _LIKE_A_KEY and not _exists(value, info):
            raise ValueError(
                "there is no such file; write the path of a file that has the key, or env:NAME,"
                " and not the key itself"
            )
        value = FILE + value
    shown = value.removeprefix(FILE)
    key = _decoded(referenced(value, info) or "")
    if key is None:
        raise ValueError(f"the content of {shown} is not base64")
    if len(key) < MIN_KEY:
        raise ValueError(
            f"the key in {shown} has {len(key)} bytes; at least {MIN_KEY} random bytes are needed,"
            f" such as the output of `openssl rand -base64 {MIN_KEY}`"
        )
    return SecretFileBytes(key, relative_to_base(shown, info)) if value.startswith(FILE) else key


def _exists(path: str, info: ValidationInfo) -> bool:
    try:
        return relative_to_base(path, info).exists()
    except OSError:
        # The system refuses to look for a file whose name is too long.
        return False


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _check_metadata_key(key: str) -> str:
    if not _METADATA_KEY.match(key) or key.startswith("grpc-") or key.endswith("-bin"):
        raise ValueError(
            f"{key!r} is not a metadata key: lower case letters, digits and _ . - are allowed;"
            " a key cannot begin with grpc- or end with -bin"
        )
    return key


def _read_metadata_value(value: object, info: ValidationInfo) -> object:
    """Read the value of a metadata key, which may be in a variable or a file."""
    if not isinstance(value, str):
        return value
    text = referenced(value, info)
    if text == "":
        raise ValueError(f"{value} is empty")
    text = value if text is None else text
    if not _METADATA_VALUE.match(text):
        raise ValueError("the value has characters that are not printable ASCII")
    if value.startswith(FILE):
        return SecretFileStr(text, relative_to_base(value.removeprefix(FILE), info))
    return SecretEnvStr(text) if value.startswith(_ENV) else text


Key = Annotated[SecretBytes, BeforeValidator(_read_key)]
CallMetadata = dict[
    Annotated[str, AfterValidator(_check_metadata_key)],
    Annotated[SecretStr, BeforeValidator(_read_metadata_value)],
]
