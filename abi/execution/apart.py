"""Run something in a copy of this process, so that a user's module that crashes or never ends takes nothing down with it.

The copy begins where this process is (fork), in a few hundredths of a second; what it changes stays in it. Where a copy is
not safe, as beside other threads or on other systems than Linux, it is run in this process.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, NoReturn, TypeVar

import torch

from abi.errors import UsageError

LIMIT_S: Final = 900.0
"""Of all that a user's module does while it is planned; a loop in Python is ended before (`abi.execution.deadline`)."""

T = TypeVar("T")


def apart(run: Callable[[], T], what: str, *, time_limit_s: float | None = None) -> T:
    """What `run()` gives.

    Args:
        run: anything whose answer, or error, can be pickled.
        what: what was expected to end, as a part of a sentence.
        time_limit_s: seconds for all of it (`LIMIT_S` where None).

    Raises:
        UsageError: its process crashed, ended without an answer, or took too long; else whatever `run` raises.
    """
    if sys.platform != "linux" or not alone():
        return run()
    limit_s = LIMIT_S if time_limit_s is None else time_limit_s
    here, there = multiprocessing.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        here.close()
        _answer(run, there)
    there.close()
    answer: tuple[T | None, BaseException | None] | None = None
    late = ""
    try:
        if here.poll(limit_s):
            answer = here.recv()
        else:
            late = f"no end in {limit_s:g} s"
    except EOFError:
        pass
    finally:
        here.close()
        ended = _ended(process, kill=bool(late) or sys.exc_info()[0] is not None)
    if answer is None:
        msg = f"Expected {what} to be built and traced, got {late or ended}: run a step of it by hand on a few rows."
        raise UsageError(msg)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]  # type: ignore[return-value]  # it is what `run` gave


def alone() -> bool:
    """Whether this process has one thread: what others hold when it is copied is never let go in the copy."""
    return threading.active_count() == 1


def _answer(run: Callable[[], Any], there: Connection) -> NoReturn:
    """In the copy: run, send what it gives or raises, and end without the exit handlers of the process copied."""
    try:
        faulthandler.disable()  # how it ended is told in a sentence
        torch.set_num_threads(1)  # the threads of the process copied are not there
        answer: tuple[Any, BaseException | None]
        try:
            answer = run(), None
        except BaseException as error:
            error.add_note(traceback.format_exc())
            answer = None, error
        there.send(answer)
        there.close()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _ended(process: int, *, kill: bool) -> str:
    """Wait for the copy; how it ended, as a part of a sentence."""
    if kill:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return (
        f"a crash of its process ({signal.Signals(-code).name})"
        if code < 0
        else f"an end of its process with code {code}"
    )
