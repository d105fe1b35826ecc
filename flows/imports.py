"""Importing large libraries a little faster."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_once(largest: str) -> Iterator[None]:
    """Import much without looking for garbage among it; what was there afterwards is never looked through again.

    Does nothing where the largest of the libraries is there already: then this process does other things too.
    """
    if largest in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
