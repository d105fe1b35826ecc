"""Standard output while a user's own code runs: it belongs to the answer, so what they print goes to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_from_stdout() -> Iterator[None]:
    """Turn file descriptor 1 and `sys.stdout` to standard error, and back; a `sys.stdout` that was closed is no harm."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as other, contextlib.redirect_stdout(other):
            yield
    finally:
        os.dup2(before, 1)
        os.close(before)
