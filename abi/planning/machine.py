"""What this machine does per second, measured once and kept: the constants of the time model.

One training step of a network is modelled as

    step_s = call_s + row_s * rows + mac_s * rows * multiply-accumulates

after the roofline idea (Williams et al. 2009): a fixed part (Python and kernel launches), a part for moving rows and
activations, and a part for arithmetic. The three constants are fitted by non-negative least squares to timed steps of
reference networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from abi.devices.device import Cluster
from abi.planning.margins import Margin
from abi.types import Family
from abi.values import Late, Value

RULES: Final = 4
"""Since the second a network is planned once more where its trace leaves room (`abi.planning.wider`), since the third what
images at half their size save is traced too, since the fourth limits hold validation at its bound and on all devices
(`abi.planning.execution`)."""
LIBRARY_BYTES = 65 * 2**20
"""Of cuBLAS on an H200, where nothing is known of the GPU; less before it."""


@dataclass(frozen=True, kw_only=True)
class PictureSeconds(Value):
    """What a picture's forward pass takes.

    So much of each `mac`, of each number in its layers' `map`s, and, where its regions have different levels and are computed
    as `tile`s, of each number of the whole maps that these are cut from and laid into.
    """

    mac: float
    map: float
    tile: float


@dataclass(frozen=True, kw_only=True)
class Machine(Value):
    """Constants of one device, and how far above predictions what runs on it may lie.

    `activation_s` is per row and hidden unit of every member and block. `cluster` are the devices that were asked for, if
    any were; `source` says where constants come from that were not measured (`abi.planning.figures`). `solver` is the
    number of the one that divides widths on it (`abi.planning.allocate.SOLVER`): what was planned before there was a
    second one has none. `pictures` are measured where there are pictures; plans before them have `picture_mac_s` at most, of a
    multiply-accumulate in a picture's convolutions with all that comes with it. `rules` is the number of those by which
    networks are planned on devices that are not here (`RULES`): what was planned by the first has none.
    """

    device: str
    name: str
    threads: int
    precision: Literal["float32", "bfloat16"]
    call_s: float
    activation_s: float
    mac_s: float
    predict_call_s: float
    memory_bytes: int
    margins: Late[tuple[Margin, ...]] = ()
    cluster: Late[Cluster | None] = None
    source: Late[str] = ""
    solver: Late[int | None] = None
    picture_mac_s: Late[float | None] = None
    pictures: Late[PictureSeconds | None] = None
    rules: Late[int | None] = None

    @property
    def library_bytes(self) -> int:
        """What matrix libraries keep of a GPU's memory while a network trains."""
        if self.cluster is not None:
            return self.cluster.device.library_bytes
        return LIBRARY_BYTES if self.device.startswith("cuda") else 0

    def margin(self, family: Family) -> Margin | None:
        """What plans of that family keep inside their limits; None in plans made before there was a prior."""
        return next((m for m in self.margins if m.family == family), None)
