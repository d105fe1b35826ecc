"""A limit of time for what a user's own code does in this process."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from types import FrameType

from abi.errors import UsageError

AGAIN_S = 1.0
"""An alarm that falls where Python drops exceptions, as in a destructor or a weak reference's callback, is rung again."""


class _TimeUp(BaseException):
    """Not an Exception, so that ``except Exception`` in the user's code does not end it."""


def within(limit_s: float, what: str) -> AbstractContextManager[None]:
    """Run a block of Python, and stop it where it does not end.

    Outside the main thread, and on systems without alarms, there is no limit.

    Args:
        limit_s: seconds that it may take.
        what: what was expected to end, as a part of a sentence.

    Raises:
        UsageError: it took longer.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return nullcontext()
    return _Limit(limit_s, what)


class _Limit(AbstractContextManager[None]):
    """Not made of a generator: an alarm may fall into the calls around one, where nothing would catch what it raises."""

    def __init__(self, limit_s: float, what: str) -> None:
        self._limit_s, self._what, self._over = limit_s, what, False

    def __enter__(self) -> None:
        self._told = sys.unraisablehook
        self._began, self._handler = time.monotonic(), signal.signal(signal.SIGALRM, self._ring)
        sys.unraisablehook = self._lost
        self._left, self._interval = signal.setitimer(signal.ITIMER_REAL, self._limit_s, AGAIN_S)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        sys.unraisablehook = self._told
        if self._left:
            rest = self._left - (time.monotonic() - self._began)
            signal.setitimer(signal.ITIMER_REAL, max(rest, 1e-3), self._interval)
        if kind is not None and issubclass(kind, _TimeUp):
            msg = f"Expected {self._what} within {self._limit_s:g} s, got no end: see whether it loops for ever, or try a smaller one."
            raise UsageError(msg) from None

    def _ring(self, _: int, at: FrameType | None) -> None:
        """End the block, unless it has not begun or has ended already."""
        around = (_Limit.__enter__.__code__, _Limit.__exit__.__code__)
        if not self._over and (at is None or at.f_code not in around):
            raise _TimeUp

    def _lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, _TimeUp):
            self._told(unraisable)
