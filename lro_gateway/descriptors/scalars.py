"""ProtoJSON values of scalar fields, and the words that name a wrong value in an error text.

json_format is not used, because it accepts wrong values. For example, it reads `true` as the enum
value 1, `1_0` as 10, and text that is not base64 as bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import orjson
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.choices import choices
from lro_gateway.descriptors.enums import sent_names
from lro_gateway.errors import quote

_F: Final = FieldDescriptor
_INTEGER: Final = re.compile(r"-?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NOT_A_NUMBER: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT_LIMIT: Final = float.fromhex("0x1.ffffffp+127")
"""The smallest number that a float of 32 bits rounds to infinity.

The largest float is printed in its shortest form, which is a bit larger than the float itself.
"""

_RANGES: Final[Mapping[int, tuple[int, int]]] = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_EXPECTED: Final[Mapping[int, str]] = {
    _F.CPPTYPE_BOOL: "true or false",
    _F.CPPTYPE_DOUBLE: "a number",
    _F.CPPTYPE_FLOAT: "a number",
    _F.CPPTYPE_INT32: "an integer of 32 bits",
    _F.CPPTYPE_INT64: "an integer of 64 bits",
    _F.CPPTYPE_UINT32: "an unsigned integer of 32 bits",
    _F.CPPTYPE_UINT64: "an unsigned integer of 64 bits",
    _F.CPPTYPE_STRING: "a string",
}


def scalar(field: FieldDescriptor, value: Any) -> Any:
    """Return the Python value of a scalar or enum field, for a value in ProtoJSON.

    Raises `ValueError` if the value is wrong. `expected` and `shown` have the words for the error.
    """
    kind = field.cpp_type
    if kind == _F.CPPTYPE_STRING:
        return _bytes(value) if field.type == _F.TYPE_BYTES else text(value)
    if kind in _RANGES:
        return _integer(value, *_RANGES[kind])
    if kind == _F.CPPTYPE_BOOL:
        if value is True or value is False:
            return value
        raise ValueError
    if field.enum_type is not None:
        return _enum(field.enum_type, value)
    return _float(value, math.inf if kind == _F.CPPTYPE_DOUBLE else _FLOAT_LIMIT)


def map_key(field: FieldDescriptor, key: str) -> Any:
    """Return the key of a map for a JSON key. Raises `ValueError` if the JSON key is wrong."""
    if field.cpp_type == _F.CPPTYPE_BOOL:
        if key not in {"true", "false"}:
            raise ValueError
        return key == "true"
    return scalar(field, key)


def text(value: Any) -> str:
    """Return a string that protobuf can hold. Raises `ValueError` for any other value."""
    if not isinstance(value, str) or not is_unicode(value):
        raise ValueError
    return value


def is_unicode(value: str) -> bool:
    """Return whether a text has no lone surrogate, so that UTF-8 can encode it."""
    return value.isascii() or not _SURROGATE.search(value)


def _bytes(value: Any) -> bytes:
    """Decode base64. The alphabet of URLs is accepted, and the padding may be missing."""
    if not isinstance(value, str) or not _BASE64.fullmatch(value):
        raise ValueError
    bare = value.rstrip("=").replace("-", "+").replace("_", "/")
    if len(value) != len(bare) and len(value) % 4:
        raise ValueError
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise ValueError from None


def _integer(value: Any, low: int, high: int) -> int:
    number = _whole(value)
    if low <= number <= high:
        return number
    raise ValueError


def _whole(value: Any) -> int:
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        if not _NUMBER.fullmatch(value) or (exact := Decimal(value)) != exact.to_integral_value():
            raise ValueError
        return int(exact)
    # A float that is not an integer is refused, and so are infinity and NaN.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _float(value: Any, limit: float) -> float:
    if isinstance(value, str) and value in _NOT_A_NUMBER:
        return _NOT_A_NUMBER[value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        try:
            number = float(value)
        except OverflowError:
            raise ValueError from None
        # A number too large for the field would silently become infinity.
        if math.isfinite(number) and abs(number) < limit:
            return number
    raise ValueError


def _enum(descriptor: EnumDescriptor, value: Any) -> int:
    if isinstance(value, str) and (named := descriptor.values_by_name.get(text(value))) is not None:
        return int(named.number)
    number = _integer(value, *_RANGES[_F.CPPTYPE_INT32])
    if descriptor.is_closed and number not in descriptor.values_by_number:
        raise ValueError
    return number


def expected(field: FieldDescriptor, value: Any) -> str:
    """Return words for what a scalar or enum field needs, such as `true or false`.

    `value` is the wrong value. The names of an enum that are spelt like it come first.
    """
    if field.enum_type is not None:
        if field.enum_type.full_name == well_known.NULL_VALUE:
            return "null"
        return f"one of {choices(sent_names(field.enum_type), value)}"
    return "base64" if field.type == _F.TYPE_BYTES else _EXPECTED[field.cpp_type]


def shown(value: Any) -> str:
    """Return words for a wrong JSON value: the value if it is short, or its kind."""
    match value:
        case str():
            return "a string that holds JSON" if holds_json(value) else quote(value, 40)
        case None | bool():
            return orjson.dumps(value).decode()
        case float():
            return repr(value)
        case int():
            # Python refuses to print an integer of thousands of digits.
            return str(value) if abs(value) < 10**40 else "an integer of more than 40 digits"
        case list():
            return "a list"
        case _:
            return "an object"


def holds_json(value: str) -> bool:
    """Return whether a text is a JSON object or list, which models sometimes send as a string."""
    if value.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True
