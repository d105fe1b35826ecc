"""A limit of time for what a user's own code does in this process."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from abi.errors import UsageError

AGAIN_S = 1.0
"""An alarm that falls where Python drops exceptions, as in a destructor or a weak reference's callback, is rung again."""


class _TimeUp(BaseException):
    """Not an Exception, so that ``except Exception`` in the user's code does not end it."""


@contextmanager
def within(limit_s: float, what: str) -> Iterator[None]:
    """Run a block of Python, and stop it where it does not end.

    Outside the main thread, and on systems without alarms, there is no limit.

    Args:
        limit_s: seconds that it may take.
        what: what was expected to end, as a part of a sentence.

    Raises:
        UsageError: it took longer.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise _TimeUp

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, _TimeUp):
            told(unraisable)

    told = sys.unraisablehook
    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, limit_s, AGAIN_S)
    sys.unraisablehook = lost
    try:
        yield
    except _TimeUp:
        msg = f"Expected {what} within {limit_s:g} s, got no end: see whether it loops for ever, or try a smaller one."
        raise UsageError(msg) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = told
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-3), interval)
