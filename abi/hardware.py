"""Settings of devices: a card that the catalogue does not know, or what is different about one that it knows."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from abi.errors import clip
from abi.sections import Bandwidth, Bytes, Rate, Seconds, Section, Watts

Arithmetic = Literal["float32", "tf32", "bfloat16"]


def _known(rates: Any) -> Any:
    """Name an arithmetic that is none, before pydantic does.

    Raises:
        ValueError: there is one.
    """
    unknown = [name for name in rates if name not in get_args(Arithmetic)] if isinstance(rates, dict) else []
    if unknown:
        msg = f"Expected rates of {', '.join(get_args(Arithmetic))}, got one of {clip(str(unknown[0]))!r}: leave it out, plans use no other."
        raise ValueError(msg)
    return rates


Reached = Annotated[float, Field(gt=0, le=1)]


class DeviceConfig(Section):
    """Figures of one device. What is left out comes from `like`, or from the catalogue where it has that name."""

    like: str | None = None
    """Device to start from, such as H100-SXM."""
    kind: Literal["gpu", "cpu"] | None = None
    """Whether it is a GPU or a processor."""
    memory: Bytes | None = None
    """Memory that programs can use, as the driver reports it."""
    bandwidth: Bandwidth | None = None
    """Peak bytes per second to and from its memory, as 3.35TB/s."""
    rates: Annotated[dict[Arithmetic, Rate], BeforeValidator(_known)] = Field(default_factory=dict)
    """Peak rate of dense matrix products by arithmetic, as 312TFLOPS; never the figure "with sparsity"."""
    reached_rate: Reached | None = None
    """Share of the rate that large matrix products reach."""
    reached_bandwidth: Reached | None = None
    """Share of the bandwidth that large copies reach."""
    launch: Seconds | None = None
    """Time that the host takes to hand over one operator, as 15us."""
    step: Seconds | None = None
    """Time of the host for each training step, whatever the module."""
    context: Bytes | None = None
    """Memory that driver and libraries take."""
    capability: float | None = Field(default=None, ge=0, le=99)
    """CUDA's compute capability, as 9.0."""
    multiprocessors: int | None = Field(default=None, ge=0, le=4096)
    """Streaming multiprocessors of a GPU."""
    library: Bytes | None = None
    """Memory that matrix libraries keep while a module trains."""
    power: Watts | None = None
    """Of the board at full load, as 700W."""
    idle: Watts | None = None
    """Of the board when nothing runs."""
    link: Bandwidth | None = None
    """Bytes per second in one direction to the other devices of the machine."""
    host_link: Bandwidth | None = None
    """Bytes per second from host memory."""
    host_memory: Bytes | None = None
    """Memory of the machine for each such device."""
    host_cores: int | None = Field(default=None, ge=1, le=4096)
    """Processor cores of the machine for each such device."""
    price_per_hour: float | None = Field(default=None, ge=0, lt=math.inf)
    """What one costs an hour, in any currency."""
    source: str = "settings"
    """Where the figures come from."""
