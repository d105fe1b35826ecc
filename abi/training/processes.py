"""Train in several processes, one a device, and watch over them: they end together, whatever happens to one of them.

The process that was asked starts all of them (spawn) and waits for what they tell, so that it is never stuck in a
collective itself. The first one tells of steps, epochs and checkpoints, and at the end its result. Where one fails or
vanishes the others are killed; where the asking process is interrupted or killed, all of them end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
from jaxtyping import Float

from abi.errors import AbiError, ProcessLost, WorkspaceError, clip, told

if TYPE_CHECKING:  # torch begins when it is needed
    from abi.outcomes import Epoch, Revision
    from abi.training.checkpoint import Checkpoints
    from abi.training.watch import Watcher

GRACE_S: Final = 2.0
"""After the first failure, so long the others may tell of theirs: the cause is not always heard first."""
CAUSES: Final = ("memory", "error", "broke", "vanished", "lost")
"""What ended a process, most telling first; `lost` is that it missed another."""
SHOWN: Final = 200


@dataclass
class _Member:
    """One process, and how it ended: a cause with what it said."""

    rank: int
    process: SpawnProcess
    pipe: Connection
    over: bool = False
    done: bool = False
    cause: str = ""
    said: Any = None


def together(
    run: Callable[..., Any], *, count: int, device: str, watcher: Watcher, checkpoints: Checkpoints | None
) -> Any:
    """What `run(watcher=, checkpoints=, group=)` gives in the first of `count` processes.

    Args:
        run: can be pickled; called in each process.
        count: of processes.
        device: cuda, of which each takes one, or cpu.
        watcher: of this process; told what the first one tells.
        checkpoints: of this process; keeps what the first one packs.

    Raises:
        MemoryError: a process had no memory left.
        WorkspaceError: there is no room for what they are handed.
        ProcessLost: a process ended before its time.
        AbiError: a process raised that.
    """
    with tempfile.TemporaryDirectory(prefix="abi-training-") as name:
        folder = Path(name)
        saved = None if checkpoints is None else checkpoints.load()
        _write(folder / "work", (run, checkpoints is not None, saved))
        with _started(count, device, folder) as members:
            return _supervise(members, folder, watcher, checkpoints)


def _write(path: Path, work: tuple[Any, ...]) -> None:
    """Once for all: what a process is handed as it starts, it reads at the speed of its imports."""
    try:
        with path.open("wb") as file:
            pickle.dump(work, file, protocol=5)
    except OSError as error:
        msg = f"Expected room for a copy of the rows in {path.parent.parent}, got {told(error)}: free some, or set TMPDIR to a larger disk."
        raise WorkspaceError(msg) from error


@contextlib.contextmanager
def _started(count: int, device: str, folder: Path) -> Iterator[list[_Member]]:
    context, members = multiprocessing.get_context("spawn"), list[_Member]()
    # Ctrl-C reaches all processes of a terminal: those that begin here inherit that it is held back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for rank in range(count):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_member, args=(rank, count, device, folder, there), daemon=True)
            members.append(_Member(rank, process, here))
            process.start()
            there.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield members
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for member in members:
            if member.process.pid is not None:
                member.process.kill()
        for member in members:
            if member.process.pid is not None:
                member.process.join()
            member.pipe.close()


def _supervise(members: list[_Member], folder: Path, watcher: Watcher, checkpoints: Checkpoints | None) -> Any:
    """Pass on what is told until the result is there, or a process failed."""
    until: float | None = None
    while until is None or (time.monotonic() < until and not all(m.over for m in members)):
        left = None if until is None else max(0.0, until - time.monotonic())
        for pipe in wait([m.pipe for m in members if not m.over], left):
            member = next(m for m in members if m.pipe is pipe)
            kind, said = _heard(member)
            if kind == "step":
                watcher.step(*said)
            elif kind == "epoch":
                watcher.epoch(*said)
            elif kind == "save":
                assert checkpoints is not None
                checkpoints.save(said)
            elif kind == "done":
                member.done = True
                if member.rank == 0:
                    return said
            elif kind in CAUSES:
                member.cause, member.said = kind, said
                until = until or time.monotonic() + GRACE_S
    raise _failure(members, folder)


def _heard(member: _Member) -> tuple[str, Any]:
    try:
        kind, said = pickle.loads(member.pipe.recv_bytes())  # noqa: S301 - of a process that was started here
    except (EOFError, ConnectionError):
        member.over = True
        return ("", None) if member.done or member.cause else ("vanished", None)
    return kind, said


def _failure(members: list[_Member], folder: Path) -> BaseException:
    """The most telling of the causes, as an error."""
    failed = min((m for m in members if m.cause), key=lambda m: (CAUSES.index(m.cause), m.rank))
    if failed.cause == "memory":
        return MemoryError(failed.said)
    if failed.cause == "error":
        assert isinstance(failed.said, AbiError)
        return failed.said
    which = f"Expected {len(members)} processes to train together, got process {failed.rank + 1} of them"
    if failed.cause == "broke":
        summary, trace = failed.said
        error = ProcessLost(f"{which} ended by {summary}: train on one device, where this cannot happen to others.")
        error.__cause__ = RuntimeError(trace)
        return error
    if failed.cause == "lost":
        return ProcessLost(f"{which} without an answer of the others ({failed.said}): run it again.")
    failed.process.join(GRACE_S)
    code = failed.process.exitcode
    how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
    if not (folder / f"said-{failed.rank}").is_file():
        return ProcessLost(
            f"{which} {how} before it began: in a script of your own, train under `if __name__ == '__main__':`."
        )
    last = _last_line(folder / f"said-{failed.rank}")
    return ProcessLost(
        f"{which} {how}{last}: see whether the machine's memory ran out, then run it again; it goes on from its checkpoint."
    )


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return f" ({clip(lines[-1].strip(), SHOWN)})" if lines else ""


def _member(rank: int, count: int, device: str, folder: Path, pipe: Connection) -> None:
    """In one of the processes: train, tell, end."""
    _quiet(folder / f"said-{rank}")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _stay_here()
    tell = _Tell(pipe)
    try:
        with (folder / "work").open("rb") as file:
            run, keeps, saved = pickle.load(file)  # noqa: S301 - of the process that started this one
        _train(run, _Kept(tell, saved) if keeps else None, tell, (rank, count, device, folder))
    except AbiError as error:
        tell("error", error)
    except Exception as error:
        from abi.execution.out_of_memory import is_out_of_memory  # noqa: PLC0415 - torch is there by now
        from abi.training.parallel import PeersLost  # noqa: PLC0415

        said = clip((str(error).strip().splitlines() or [""])[0].rstrip("."), SHOWN)
        if isinstance(error, PeersLost):
            tell("lost", said)
        elif is_out_of_memory(error):
            tell("memory", said or type(error).__name__)
        else:
            tell("broke", (f"{type(error).__name__} ({said})", traceback.format_exc()))
    os._exit(0)  # nothing is waited for, as others may be gone


def _train(run: Callable[..., Any], kept: _Kept | None, tell: _Tell, place: tuple[int, int, str, Path]) -> None:
    from abi.training.parallel import replica  # noqa: PLC0415 - torch begins when the process does

    with replica(*place) as group:
        tell("done", run(watcher=tell if group.leads else _Silent(), checkpoints=kept, group=group))


class _Tell:
    """What a process tells the one that started it; a watcher of the first one's training."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, kind: str, said: Any) -> None:
        # plain pickle: that of multiprocessing hands tensors over as files that end with this process
        self._pipe.send_bytes(pickle.dumps((kind, said), protocol=5))

    def step(self, done: int, total: int) -> None:
        self("step", (done, total))

    def epoch(self, line: Epoch, attention: Float[np.ndarray, " features"], norms: dict[str, float]) -> None:
        self("epoch", (line, attention, norms))

    def revised(self, revision: Revision) -> None:
        """Who starts the processes revises."""


class _Silent(_Tell):
    """A watcher of all others."""

    def __init__(self) -> None:
        """It tells nobody."""

    def __call__(self, kind: str, said: Any) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class _Kept:
    """Checkpoints of the process that started this one."""

    tell: _Tell
    saved: bytes | None

    def load(self) -> bytes | None:
        return self.saved

    def save(self, data: bytes) -> None:
        self.tell("save", data)

    def clear(self) -> None:
        """Who starts the processes does."""


def _quiet(path: Path) -> None:
    """What libraries print goes to a file, whose last line is shown where the process vanishes."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _stay_here() -> None:
    """Processes of one machine speak over its loopback, whatever its name resolves to."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.address == "127.0.0.1" for a in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
