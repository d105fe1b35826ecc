"""Runs a module as `python -m` does, for as long as the process that started it is there.

    python -P -m tasks.with_parent MODULE WORD ..

Standard input is a pipe that nobody writes to. When its other side is gone, however that process ended (SIGKILL included),
this one ends by SIGTERM, with its group where it leads one, and by itself where that takes too long. `COMMAND` is how it is
started: without the current folder among the places of modules, which may have a package `tasks` of its own.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

GRACE_S: Final = 10.0
COMMAND: Final = (sys.executable, "-P", "-m", "tasks.with_parent")


def _watch() -> None:
    while os.read(0, 1024):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(128 + signal.SIGTERM)


def main() -> None:
    """Watch, and be the module."""
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
