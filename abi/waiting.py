"""How threads of a processor wait for one another: OpenMP reads it from the environment once, when it is loaded.

libgomp's threads spin up to 300,000 times before they sleep. As soon as another program wants one of their cores, each
wait may take what the kernel gives that program: a step of a small network then took 340 ms in place of 10. Threads that
sleep at once have to be woken for every operator, 17 ms. Those that spin 5,000 times, about a tenth of a millisecond, took
10.5 ms alone and 24.5 beside one busy program (two cores, `benchmarks/waiting.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

POLICY: Final = "OMP_WAIT_POLICY"
SPINS: Final = "GOMP_SPINCOUNT"
SETTINGS: Final = {POLICY: "PASSIVE", SPINS: "5000"}
"""The first is for OpenMP of others, the second goes before it in libgomp."""


def waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """What makes threads spin for a moment, then sleep; nothing where the environment says anything of it."""
    return {} if environment.keys() & SETTINGS.keys() else SETTINGS
