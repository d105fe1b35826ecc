from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from abi.errors import UsageError
from abi.execution.deadline import within


def test_a_loop_is_ended_though_it_takes_every_exception() -> None:
    def loop() -> None:
        with within(0.2, "a loop"):
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(UsageError, match=r"^Expected a loop within 0\.2 s, got no end: "):
        loop()
    assert time.monotonic() - began < 2


def test_an_alarm_that_was_set_before_still_rings() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with within(5.0, "nothing"):
            pass
        time.sleep(0.4)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_another_thread_has_no_limit() -> None:
    done: list[bool] = []

    def run() -> None:
        with within(0.01, "a nap"):
            time.sleep(0.1)
        done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]


def test_an_alarm_that_python_drops_is_rung_again_and_others_are_told(monkeypatch) -> None:
    class Slow:
        def __del__(self) -> None:
            time.sleep(0.5)

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    told: list[type[BaseException]] = []
    monkeypatch.setattr("sys.unraisablehook", lambda lost: told.append(lost.exc_type))

    def loop() -> None:
        with within(0.2, "a loop"):
            Slow()
            Broken()
            while True:
                time.sleep(0.01)

    with pytest.raises(UsageError, match=r"^Expected a loop within 0\.2 s"):
        loop()
    assert told == [ValueError]


def test_an_alarm_that_comes_as_the_block_ends_is_not_raised_outside_of_it(monkeypatch) -> None:
    real, rung = signal.setitimer, []

    def late(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        if seconds == 0:
            rung.append(seconds)
            signal.raise_signal(signal.SIGALRM)
        return real(which, seconds, interval)

    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(signal, "setitimer", late)
    with within(5.0, "nothing"):
        pass
    assert rung == [0]
    assert signal.getsignal(signal.SIGALRM) == before
