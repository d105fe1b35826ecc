"""Memory that ran out: how it is recognised, what the allocator said, how much there was, and how what failed is let go."""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass
from typing import Final

import torch

from abi.errors import clip

SAID: Final = re.compile(
    r"can't allocate memory|not enough memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED|could not create a primitive$",
    re.IGNORECASE,
)
"""The last is oneDNN's when it has no room for its own buffers: torch drops the status that says so."""
LONGEST: Final = 200
"""Of what an allocator says, in characters."""


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """Memory that ran out: what the allocator said, and what tensors could have of the device, where that is known."""

    said: str
    room_bytes: int | None = None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of the host or of a GPU, had no room."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and SAID.search(str(error)) is not None


def first_line(error: BaseException) -> str:
    """What the allocator said, as a part of a sentence."""
    return clip((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."), LONGEST)


def room_bytes(device: str | torch.device) -> int | None:
    """What the tensors of this process can have of a GPU: free, or reserved for them already; None for a processor.

    Asked before `release`, or after, it is the same: what others hold is what is left out.
    """
    place = torch.device(device)
    if place.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(place)
    return min(free + torch.cuda.memory_reserved(place), int(total * _allowed_share(place)))


def release(device: str | torch.device) -> None:
    """Give back what the failed attempt held."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def _allowed_share(device: torch.device) -> float:
    """Of the GPU's memory, to this process."""
    asked = getattr(torch.cuda, "get_per_process_memory_fraction", None)  # since torch 2.9 or later
    return 1.0 if asked is None else float(asked(device))
