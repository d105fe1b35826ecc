"""What is run in a copy of the process: its answer and its errors come back, what it changes does not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from abi.errors import PlanInfeasible, UsageError
from abi.execution.apart import apart
from abi.execution.aside import aside


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that other tests left, such as a progress bar's, do not count."""
    monkeypatch.setattr("abi.execution.apart.alone", lambda: True)


@pytest.mark.usefixtures("copied")
def test_the_answer_comes_back_and_changes_do_not() -> None:
    held: list[int] = []

    def run() -> int:
        held.append(1)
        return len(held)

    assert apart(run, "it") == 1
    assert held == []


def test_beside_other_threads_it_runs_here() -> None:
    held: list[int] = []
    wait = threading.Event()
    other = threading.Thread(target=wait.wait)
    other.start()
    try:
        apart(lambda: held.append(1), "it")
    finally:
        wait.set()
        other.join()
    assert held == [1]


@pytest.mark.usefixtures("copied")
def test_an_error_comes_back_with_what_it_carries() -> None:
    def run() -> None:
        msg = "Expected room, got none."
        raise PlanInfeasible(msg, nearest=(7,))

    with pytest.raises(PlanInfeasible, match="Expected room, got none") as error:
        apart(run, "it")
    assert error.value.nearest == (7,)
    assert "in run" in error.value.__notes__[0]  # the traceback of the copy


@pytest.mark.usefixtures("copied")
def test_what_never_ends_is_ended() -> None:
    with pytest.raises(UsageError, match=r"Expected it to be built and traced, got no end in 0\.5 s: run"):
        apart(lambda: time.sleep(60), "it", time_limit_s=0.5)


@pytest.mark.usefixtures("copied")
def test_an_answer_that_cannot_be_sent_is_no_silence() -> None:
    with pytest.raises(UsageError, match="got an end of its process with code 1"):
        apart(lambda: lambda: 0, "it")


STAYS = """
import os, pathlib, time
pathlib.Path({path!r}).write_text(str(os.getpid()))
time.sleep(120)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is run in a copy")
@pytest.mark.usefixtures("copied")
def test_what_the_copy_started_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "process"

    def end() -> None:
        while not (path.is_file() and path.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)  # as a limit of time does

    def run() -> None:
        threading.Thread(target=end, daemon=True).start()
        aside(exec, STAYS.format(path=str(path)), time_limit_s=120.0)

    with pytest.raises(UsageError, match="a crash of its process"):
        apart(run, "it", time_limit_s=60.0)
    process = int(path.read_text())
    ends = time.monotonic() + 20
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < ends
        time.sleep(0.05)
