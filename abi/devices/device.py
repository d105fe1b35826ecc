"""One kind of device as the planner sees it, and how many of them there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abi.values import Value

Arithmetic = Literal["float32", "tf32", "bfloat16"]
"""How matrices are multiplied; tf32 keeps tensors in float32."""


@dataclass(frozen=True, kw_only=True)
class Device(Value):
    """Figures of one device.

    Attributes:
        name: as users name it, such as H100-SXM.
        kind: gpu or cpu.
        memory_bytes: what the driver reports as total (for a processor: the host's).
        bandwidth: bytes per second to and from its memory, peak.
        rates: arithmetic -> dense matrix multiply-add operations per second, peak, counted as two FLOPs each; what it does
            not offer is not named.
        reached_rate, reached_bandwidth: what is reached of `rates` in large matrix products, and of `bandwidth` in large copies, as shares;
            measured by `abi calibrate`, else typical ones.
        launch_s: seconds that the host takes to hand over one operator of a plain stack of layers, views and Python's part in it.
        segments_bytes: one of each kind that a GPU's allocator takes from the driver at a time, and hands out in parts.
        step_s: seconds of the host for each training step, whatever the module.
        context_bytes: what driver, libraries and allocator take before the first tensor.
        power_w: at full load, of the board.
        idle_w: when nothing runs.
        link: bytes per second in one direction from one such device to the others of its machine.
        host_link: bytes per second from host memory.
        capability: CUDA's compute capability, as 9.0; 0 where there is none.
        multiprocessors: of a GPU; 0 where it is not known.
        library_bytes: what matrix libraries keep of the allocator's memory while a module trains.
        price_per_hour: the user's setting, in a currency of theirs.
        source: where the figures come from (document and date), or "measured" with versions.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    memory_bytes: int
    bandwidth: float
    rates: dict[str, float]
    reached_rate: float
    reached_bandwidth: float
    launch_s: float
    context_bytes: int
    power_w: float
    idle_w: float
    link: float
    host_link: float
    source: str
    price_per_hour: float | None = None
    capability: float = 0.0
    multiprocessors: int = 0
    library_bytes: int = 0
    segments_bytes: int = 0
    step_s: float = 0.0

    @property
    def single(self) -> bool:
        """Whether a process uses one of it at most: a machine's processor, or a slice of a GPU."""
        return self.kind == "cpu" or "-MIG-" in self.name

    @property
    def calibrated(self) -> bool:
        """Whether `abi calibrate` measured its figures, but for those that a user's settings give."""
        return "measured, torch" in self.source


@dataclass(frozen=True, kw_only=True)
class Cluster(Value):
    """So many of one device in one machine, with its host."""

    device: Device
    count: int
    host_memory_bytes: int
    host_cores: int
