"""What the sections of ``abi.yaml`` are made of: quantities with units, and a base that refuses unknown keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator

from abi.canonical import EXACT
from abi.errors import AbiError
from abi.units import (
    MOST_BYTES,
    parse_bandwidth,
    parse_bytes,
    parse_count,
    parse_energy,
    parse_power,
    parse_rate,
    parse_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20


def _unit(parse: Callable[[object], float]) -> BeforeValidator:
    def read(value: object) -> object:
        try:
            return None if value is None else parse(value)
        except AbiError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(read)


def _bare(least: float | int, parse: Callable[[object], float | int]) -> Callable[[object], float | int]:
    """A parser that also takes a number without a unit, from `least` on (below that its unit was forgotten)."""

    def read(value: object) -> float | int:
        try:
            number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
        except ValueError:
            number = math.nan
        return number if least <= number < math.inf else parse(value)

    return read


def _written(least: float | int, unit: str) -> PlainSerializer:
    """The other way round: a quantity below `least` is written with its unit, so that it is read back."""
    return PlainSerializer(lambda value: value if value >= least else f"{value}{unit}", when_used="json")


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) and value not in ("all", "auto") else value


OneOrMore = BeforeValidator(_listed)
"""For names in a list or one of the words all and auto: a name that stands alone is a list of one."""

Count = Annotated[int, _unit(parse_count)]
Bytes = Annotated[int, _unit(_bare(MEBIBYTE, parse_bytes)), Field(le=MOST_BYTES), _written(MEBIBYTE, "B")]
Seconds = Annotated[float, _unit(_bare(1e-6, parse_seconds)), _written(1e-6, "s")]
Bandwidth = Annotated[float, _unit(_bare(1e6, parse_bandwidth)), _written(1e6, "B/s")]
Rate = Annotated[float, _unit(_bare(1e9, parse_rate)), _written(1e9, "FLOPS")]
Energy = Annotated[float, _unit(_bare(1e3, parse_energy)), _written(1e3, "J")]
Watts = Annotated[float, _unit(_bare(1.0, parse_power)), _written(1.0, "W")]
Share = Annotated[float, Field(ge=0, lt=1)]


LOGIN = re.compile(r"([a-z][a-z\d+.-]*://[^/:@?#\s]*):(\S*)@", re.IGNORECASE)
PORT = re.compile(r"\d{1,5}[/?#]")
TOKEN = re.compile(r"(https?://)[^/:@?#\s]+@", re.IGNORECASE)
"""What stands alone before the host of a web address is a token, if it is not a user's name."""
_NAMES = r"(?:password|passwd|pwd|passphrase|secret|token|(?:access|account|api|secret)[_-]?key)"
ASKED = re.compile(rf"((?:[?&;][\w.-]*|(?<![\w.-])[\w-]*){_NAMES}=)[^&\s]+", re.IGNORECASE)
"""An argument of an address, or one by itself; of a setting's name, which has dots, the last part may be a column."""


def masked(text: str) -> str:
    """The text with ``***`` in place of each password in a URL, before the host or as an argument, and of each ``api_key=``.

    A password may have any character but blanks; the last @ ends it, and one too many is hidden rather than too few.
    """
    return ASKED.sub(r"\1***", TOKEN.sub(r"\1***@", LOGIN.sub(_hidden, text)))


def _hidden(login: re.Match[str]) -> str:
    """Of a web address that names a port and has an @ further on, nothing."""
    if login[1].lower().startswith("http") and PORT.match(login[2]):
        return login[0]
    return f"{login[1]}:***@"


def without_passwords(plain: object) -> Any:
    """JSON whose texts are `masked`: what may be recorded and shown."""
    if isinstance(plain, dict):
        return {key: without_passwords(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [without_passwords(value) for value in plain]
    return masked(plain) if isinstance(plain, str) else plain


def numbers_alone(cls: type[BaseModel], value: object, info: Any) -> object:  # pydantic's, which beartype cannot check
    """Refuse true and false where a number is meant: read as 1 and 0 they would open or shut a gate that they are to switch."""
    found = [item for item in (value if isinstance(value, (list, tuple)) else (value,)) if isinstance(item, bool)]
    if found and info.field_name in cls.model_fields:
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        if bool not in kinds and kinds & {int, float}:
            msg = f"Expected a number{' or null' if type(None) in kinds else ''}, got {str(found[0]).lower()}."
            raise ValueError(msg)
    return value


def whole_numbers_that_json_has(value: object) -> object:
    """Refuse whole numbers that other readers of JSON would round: records are canonical JSON (RFC 8785, as I-JSON, RFC 7493)."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int) and abs(number) > EXACT:
            msg = f"Expected a whole number of at most {EXACT}, got {number}."
            raise ValueError(msg)
    return value


def _kinds(annotation: object) -> set[object]:
    """All types that an annotation is made of."""
    parts = get_args(annotation)
    return {annotation} if not parts else set[object]().union(*(_kinds(part) for part in parts))


class Section(BaseModel):
    """Base of the sections: frozen; an unknown key, infinity, and true or false where a number is meant are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    _numbers = field_validator("*", mode="before")(numbers_alone)
    _exact = field_validator("*", mode="after")(whole_numbers_that_json_has)
