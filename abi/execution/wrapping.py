"""What FSDP would gather of a module at a time: one of its repeated blocks, and what stands outside them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from abi.execution.checkpointing import offers_checkpointing, repeated_blocks
from abi.execution.deadline import within
from abi.execution.module import Build, FactoryError, built
from abi.execution.trace import TIME_LIMIT_S


def look(build: Build) -> tuple[bool, int | None]:
    """Whether the module can be checkpointed, and the parameters in bytes that FSDP gathers at a time (None: all).

    The module is built without memory where its factory allows that.
    """
    with within(TIME_LIMIT_S, "a factory that gives its module"):
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                module = built(build)
                return offers_checkpointing(module), unit_bytes(module)
        except FactoryError:
            module = built(build)
            return offers_checkpointing(module), unit_bytes(module)


def unit_bytes(module: nn.Module) -> int | None:
    """Half of what is gathered while one block computes and the next is on its way, the rest being gathered throughout."""
    blocks = repeated_blocks(module)
    if not blocks:
        return None
    inside = [list(block.parameters()) for block in blocks]
    known = {id(p) for parameters in inside for p in parameters}
    rest = _bytes(p for p in module.parameters() if id(p) not in known)
    return max(rest // 2 + max(map(_bytes, inside)), rest)


def _bytes(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)
