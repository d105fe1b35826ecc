"""Where two documents part: the first field that differs, with what it is in each."""

from __future__ import annotations

import json
from typing import Any

from abi.errors import clip

SHOWN = 60


def first_difference(before: Any, after: Any, path: str = "") -> str | None:
    """``'weights[2].weight: 0.31 -> 0.33'``, or None where both are the same JSON.

    Args:
        before: plain JSON.
        after: the same.
        path: where both stand.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in before or key not in after:
                return f"{inner}: {_shown(before.get(key))} -> {_shown(after.get(key))}"
            found = first_difference(before[key], after[key], inner)
            if found:
                return found
        return None
    if isinstance(before, list) and isinstance(after, list):
        for i, (one, other) in enumerate(zip(before, after, strict=False)):
            found = first_difference(one, other, f"{path}[{_named(one, i)}]")
            if found:
                return found
        return None if len(before) == len(after) else f"{path}: {len(before)} -> {len(after)} items"
    same = before == after and isinstance(before, bool) == isinstance(after, bool)
    return None if same else f"{path}: {_shown(before)} -> {_shown(after)}"


def _named(item: Any, index: int) -> str:
    """A feature's entry goes by its name."""
    return str(item["feature"]) if isinstance(item, dict) and "feature" in item and "term" not in item else str(index)


def _shown(value: Any) -> str:
    return clip(json.dumps(value, ensure_ascii=False), SHOWN)
