"""What a value is: a frozen dataclass with a canonical JSON form (RFC 8785) and an id, its SHA-256."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import struct
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError

from abi.canonical import Written, dumps
from abi.errors import UsageError


def _packed(code: str, what: str) -> tuple[BeforeValidator, PlainSerializer]:
    """How numbers of one of struct's types become base64 of their little-endian bytes in JSON, and are read back."""
    size = struct.calcsize(f"<{code}")

    def pack(values: tuple[Any, ...]) -> str:
        return base64.b64encode(struct.pack(f"<{len(values)}{code}", *values)).decode()

    def unpack(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            data = base64.b64decode(value, validate=True)
            return struct.unpack(f"<{len(data) // size}{code}", data)
        except (ValueError, struct.error):
            msg = f"expected base64 of {what}"
            raise ValueError(msg) from None

    return BeforeValidator(unpack), PlainSerializer(pack, when_used="json")


Floats = Annotated[tuple[float, ...], *_packed("f", "32-bit floats")]
"""Many numbers of single precision."""
Wholes = Annotated[tuple[int, ...], *_packed("q", "64-bit whole numbers")]
"""Many whole numbers, eight bytes each."""


def _absent(value: object) -> bool:
    return value is None or value in ((), "")


T = TypeVar("T")
Late = Annotated[T, Field(exclude_if=_absent)]
"""A field that documents have not always had: left out of the JSON where it is None or empty, so that values recorded
before keep their bytes and ids."""


def _untrue(value: object) -> bool:
    return not value


LateFlag = Annotated[bool, Field(exclude_if=_untrue)]
"""The same of what is False where nothing is said."""

V = TypeVar("V", bound="Value")  # not Self, which beartype cannot check in a decorated method


_ADAPTERS: dict[type[Any], Any] = {}


def _adapter(kind: type[Any]) -> Any:  # a TypeAdapter, which beartype cannot check
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_NAMES: dict[type[Any], tuple[str, ...]] = {}


def _names(kind: type[Any]) -> tuple[str, ...]:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return _NAMES[kind]


def _stands_alone(part: object) -> bool:
    """Whether it is a value whose class has been written or read by itself, or several values that have such parts.

    Others are left to pydantic's serializer of the whole: one of their own takes longer to make than they to write.
    """
    if isinstance(part, tuple):
        several = bool(part) and isinstance(part[0], Value) and _has_parts(part[0])
        return several and all(isinstance(one, Value) for one in part)
    return isinstance(part, Value) and type(part) in _ADAPTERS


def _has_parts(value: Value) -> bool:
    return any(_stands_alone(getattr(value, name)) for name in _names(type(value)))


def _written(part: Any) -> Written:
    return part.written if isinstance(part, Value) else Written("[" + ",".join([one.written for one in part]) + "]")


class Value:
    """Mixin: JSON form and id of a frozen dataclass."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; NaN and infinities are not allowed."""
        plain: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return plain

    def canonical(self) -> bytes:
        """RFC 8785 bytes: the same value is the same bytes on every machine."""
        parts = {name: part for name in _names(type(self)) if _stands_alone(part := getattr(self, name))}
        plain = _adapter(type(self)).dump_python(self, mode="json", exclude=set(parts))
        return dumps(plain | {name: _written(part) for name, part in parts.items()})

    @functools.cached_property
    def written(self) -> Written:
        """The canonical form, kept for what this value becomes a part of."""
        return Written(self.canonical().decode())

    @functools.cached_property
    def id(self) -> str:
        """SHA-256 of the canonical form, in hex."""
        return hashlib.sha256(self.written.encode()).hexdigest()

    @classmethod
    def from_json(cls: type[V], plain: object) -> V:
        """Read back what `to_json` gave.

        Raises:
            UsageError: the document is not such a value.
        """
        try:
            value: V = _adapter(cls).validate_python(plain)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            msg = f"Expected a {cls.__name__} value as an earlier stage prints it, got a document where {where}: {first['msg']}."
            raise UsageError(msg) from None
        return value
