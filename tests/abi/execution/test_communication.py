from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abi.execution.communication import BUCKET_BYTES, exposed_s, ring_all_reduce_s, ring_gather_s

MB = 10**6


def test_ring_times(made: Any) -> None:
    device = made.device()  # 1e9 bytes a second, 10 µs to start a kernel
    assert ring_all_reduce_s(100 * MB, 4, device) == pytest.approx(0.15 + 60e-6)  # 2 x 3/4 x 0.1 s, six hops
    assert ring_gather_s(100 * MB, 4, device, 5) == pytest.approx(0.075 + 5 * 30e-6)


def wait(
    made: Any, parallel: str, *, forward: float, backward: float, unit: int, times: float = 1.0, **sizes: int
) -> float:
    footprint = made.footprint(**sizes)
    seconds = exposed_s(
        footprint,
        made.device(),
        parallel,
        2,
        unit,
        np.array([float(forward)]),
        np.array([float(backward)]),
        np.array([float(times)]),
    )
    return float(seconds[0])


def test_one_device_waits_for_nobody(made: Any) -> None:
    assert wait(made, "none", forward=1, backward=1, unit=1) == 0


def test_ddp_shows_what_the_backward_pass_does_not_hide_and_its_last_bucket(made: Any) -> None:
    size = 10 * BUCKET_BYTES  # on two devices the ring takes size / link
    whole = size / 1e9 + 10 * 20e-6
    last = whole / 10
    assert wait(made, "ddp", forward=1, backward=1, unit=1, gradient_bytes=size) == pytest.approx(last)
    short = 0.1
    shown = wait(made, "ddp", forward=1, backward=short, unit=1, gradient_bytes=size)
    assert shown == pytest.approx(whole - short)


def test_ddp_hides_nothing_of_a_single_bucket_and_reduces_once_a_step(made: Any) -> None:
    for times in (1.0, 7.0):
        assert wait(made, "ddp", forward=1, backward=1, unit=1, times=times, gradient_bytes=MB) == pytest.approx(
            1e-3 + 20e-6
        )


def test_fsdp_gathers_twice_and_scatters_once_in_every_micro_step(made: Any) -> None:
    sizes = {"parameter_bytes": 100 * MB, "gradient_bytes": 100 * MB}
    # on two devices each of the three takes 50 ms and four starts; nothing hides any of it
    assert wait(made, "fsdp", forward=0, backward=0, unit=25 * MB, times=4, **sizes) == pytest.approx(
        4 * (0.15 + 3 * 40e-6)
    )
    # all hidden but the first gather and the last scatter of a quarter
    assert wait(made, "fsdp", forward=1, backward=1, unit=25 * MB, **sizes) == pytest.approx(2 * (0.0125 + 10e-6))
