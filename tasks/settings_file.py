"""The commented ``abi.yaml`` that ``abi init`` writes, made from the settings themselves."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml
from pydantic import BaseModel

from abi.config import Config
from abi.units import show_bytes, show_seconds

HEAD = "# Settings of ABI. Every line is the default: keep what you change. Flags and ABI_SECTION__KEY go before this file.\n"


def commented() -> str:
    """Every setting with its default and one line on what it does."""
    lines = [HEAD]
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            lines.append(f"\n{name}:" + _comment(section.__doc__))
            lines += [
                f"  {key}: {_plain(key, inner.get_default(call_default_factory=True))}{_comment(inner.description)}"
                for key, inner in section.model_fields.items()
            ]
        else:
            lines.append(f"{name}: {_plain(name, field.default)}{_comment(field.description)}")
    return "\n".join(lines) + "\n"


def _comment(text: str | None) -> str:
    return f"  # {textwrap.dedent(text or '').strip().splitlines()[0]}" if text else ""


def _plain(key: str, value: Any) -> str:
    if key == "memory":
        return show_bytes(value).replace(" ", "")
    if key in {"train_time", "time", "checkpoint"} and value is not None:
        return show_seconds(value).replace(" ", "")
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True).replace("\n...\n", "").strip()
