"""A kernel of ours for an operator and a dispatch key, while a library lives; torch does not annotate its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.library import Library


def put(library: Library, name: str, kernel: Callable[..., Any], key: str) -> None:
    """Take `kernel` where `name` is dispatched to `key`."""
    library.impl(name, kernel, key, allow_override=True)  # type: ignore[no-untyped-call]
