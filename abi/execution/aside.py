"""Run something in a process of its own, with limits of time and memory, so that a user's module takes nothing else down.

The process is a fresh one (spawn), which on Linux ends with the one that started it, however that ends. What it prints is
not shown.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

import psutil

from abi.errors import AbiError, clip
from abi.execution.module import said

SET_PARENT_DEATH_SIGNAL: Final = 1
"""Of prctl(2)."""


class NotPassed(Exception):
    """What is to be run cannot be handed to another process; its text says why."""


class Ended(Exception):
    """The process gave no answer; its text says what it did, as a part of a sentence."""


def aside(run: Callable[..., Any], *args: Any, time_limit_s: float, memory_limit_bytes: int | None = None) -> Any:
    """What `run(*args)` gives there.

    Args:
        run: a function that a fresh process can import.
        args: its arguments.
        time_limit_s: seconds for all of it.
        memory_limit_bytes: what the process may take besides what it begins with; None is no limit.

    Raises:
        NotPassed: `args` cannot be pickled.
        Ended: it failed, took too long or too much.
        AbiError: it raised that.
    """
    try:
        pickle.dumps(args)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotPassed(clip(said(error), 120)) from error
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(run, args, memory_limit_bytes, there), daemon=True)
    process.start()
    there.close()
    try:
        answer = here.recv() if here.poll(time_limit_s) else Ended(f"no answer in {time_limit_s:g} s")
    except EOFError:
        process.join()
        answer = Ended(f"an end of its process with code {process.exitcode}")
    finally:
        process.kill()
        process.join()
        here.close()
    if isinstance(answer, AbiError | Ended):
        raise answer
    return answer


def _child(run: Callable[..., Any], args: tuple[Any, ...], limit: int | None, answer: Connection) -> None:
    """In the process: run, and send what it gives, an error of the user's, or what went wrong."""
    _end_with_parent()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if limit is not None:
        _limit_memory(limit)
    try:
        answer.send(run(*args))
    except AbiError as error:
        answer.send(error)
    except (Exception, SystemExit) as error:
        answer.send(Ended(said(error)))


def _end_with_parent() -> None:
    """Whoever started this process may be ended from outside, as by the limit of time in `abi.execution.apart`."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it ended before
        os._exit(1)


def _limit_memory(limit: int) -> None:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    used = psutil.Process().memory_info().data
    resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
