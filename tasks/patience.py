"""Wait for a server that does not answer, as long as the settings allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from abi.errors import TrackingError
from tasks.progress import say

T = TypeVar("T")
FIRST_S, LONGEST_S = 0.5, 10.0


def insist(work: Callable[[], T], patience_s: float) -> T:
    """Do `work`, which may be done again from the start, until the server answers or `patience_s` are over.

    Raises:
        TrackingError: what the last try came to.
    """
    until, pause, told = time.monotonic() + patience_s, FIRST_S, False
    while True:
        try:
            return work()
        except TrackingError as error:
            if not error.transient or time.monotonic() + pause > until:
                raise
            if not told:
                say(f"waiting   {error}")
                told = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_S)
