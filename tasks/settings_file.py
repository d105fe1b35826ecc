"""The commented ``abi.yaml`` that ``abi init`` writes, made from the settings themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from abi.config import Config
from abi.units import show_bytes, show_seconds

HEAD = "# Settings of ABI. Every line is the default: keep what you change. Flags and ABI_SECTION__KEY go before this file.\n"


DURATIONS = {"train_time", "time", "checkpoint", "patience", "cooldown", "poll", "grace"}


def commented() -> str:
    """Every setting with its default and one line on what it does."""
    return "\n".join([HEAD, *_lines(Config, "")]) + "\n"


def _lines(section: type[BaseModel], indent: str) -> Iterator[str]:
    """The settings of `section`, those of the sections inside it further in."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield f"{'' if indent else chr(10)}{indent}{name}:" + _comment(inner.__doc__)
            yield from _lines(inner, indent + "  ")
        else:
            plain = _plain(name, field.get_default(call_default_factory=True))
            yield f"{indent}{name}: {plain}{_comment(field.description)}"


def _comment(text: str | None) -> str:
    """Its first sentence."""
    whole = " ".join((text or "").split())
    return f"  # {re.split(r'(?<=[.]) ', whole)[0]}" if whole else ""


def _plain(key: str, value: Any) -> str:
    if key == "memory" and not isinstance(value, bool):  # a gate has that name
        return show_bytes(value).replace(" ", "")
    if key in DURATIONS and isinstance(value, float):
        return show_seconds(value).replace(" ", "")
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True).replace("\n...\n", "").strip()
