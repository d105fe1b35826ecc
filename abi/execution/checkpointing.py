"""Activation checkpointing of any module: activations of a block are computed again in the backward pass.

A module's own `gradient_checkpointing_enable` is preferred (transformers); else the children of its largest lists of
like submodules are wrapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from abi.errors import UsageError

LEAST_BLOCKS = 2


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """Children of the outermost ModuleLists and Sequentials that come at least twice and have parameters and parts.

    A single layer is no block: what it would save is its own input.
    """
    found: list[nn.Module] = []
    waiting = [module]
    while waiting:
        current = waiting.pop(0)
        children = list(current.children())
        kinds = Counter(
            type(child) for child in children if any(child.children()) and any(True for _ in child.parameters())
        )
        listed = isinstance(current, nn.ModuleList | nn.Sequential)
        blocks = [child for child in children if listed and kinds[type(child)] >= LEAST_BLOCKS]
        found += blocks
        waiting += [child for child in children if not any(child is block for block in blocks)]
    return found


def offers_checkpointing(module: nn.Module) -> bool:
    """Whether `apply_checkpointing` finds something to do."""
    return getattr(module, "supports_gradient_checkpointing", False) or bool(repeated_blocks(module))


def apply_checkpointing(module: nn.Module, *, preserve_random_state: bool = True) -> None:
    """Checkpoint the module's blocks from now on, in training.

    Args:
        module: is changed.
        preserve_random_state: whether dropout draws the same again; fake tensors have none to keep.

    Raises:
        UsageError: the module has no repeated blocks and no way of its own.
    """
    if getattr(module, "supports_gradient_checkpointing", False):
        module.gradient_checkpointing_enable(  # type: ignore[operator]
            {"use_reentrant": False, "preserve_rng_state": preserve_random_state}
        )
        return
    blocks = repeated_blocks(module)
    if not blocks:
        msg = (
            f"Expected a module with repeated blocks to checkpoint, got {type(module).__name__} without any: plan it "
            "without checkpointing."
        )
        raise UsageError(msg)
    for block in blocks:
        block.forward = _again(block, block.forward, preserve_random_state)


def _again(block: nn.Module, forward: Callable[..., Any], preserve: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not block.training:
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=preserve, **kwargs)

    return run
