"""Find a user's module, loss and optimizer by the names they are known by."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import SGD, Adafactor, AdamW, Optimizer

from abi.errors import UsageError, clip

Build = Callable[[], nn.Module]
Loss = Callable[[Any, dict[str, Any]], Tensor]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]

# fused and without foreach: foreach holds a copy of all parameters during the step
OPTIMIZERS: Final[dict[str, MakeOptimizer]] = {
    "sgd": lambda parameters: SGD(parameters, lr=1e-3, momentum=0.9, fused=True),
    "adamw": lambda parameters: AdamW(parameters, lr=1e-4, fused=True),
    "adafactor": lambda parameters: Adafactor(parameters, lr=1e-3, foreach=False),
}
UNSHARDED: Final = ("adafactor",)
"""Those that read the rows and columns of a whole weight, and so cannot train shards of it."""


class FactoryError(UsageError):
    """A factory that raised: built under fake tensors, it may still build for real."""


@dataclass(frozen=True)
class Named:
    """A function known by its name, so that a fresh process can find it again."""

    spec: str

    def __call__(self, *args: Any) -> Any:
        """Import it and call it."""
        return _find(self.spec)(*args)


def load(spec: str) -> Build:
    """The factory of a module, by name.

    Raises:
        UsageError: nothing callable has that name.
    """
    _find(spec)
    return Named(spec)


def load_loss(spec: str | None) -> Loss:
    """``package:function`` taking the module's output and its arguments; without one, `default_loss`."""
    if spec is None:
        return default_loss
    _find(spec)
    return Named(spec)


def load_optimizer(spec: str) -> str | MakeOptimizer:
    """A name of `OPTIMIZERS`, or the function ``package:function`` that takes the parameters.

    Raises:
        UsageError: it is neither.
    """
    if ":" in spec:
        _find(spec)
        return Named(spec)
    if spec.lower() not in OPTIMIZERS:
        msg = f"Expected an optimizer of {', '.join(OPTIMIZERS)}, or package:function, got '{clip(spec)}': name one of these."
        raise UsageError(msg)
    return spec.lower()


def built(build: Build) -> nn.Module:
    """Call a factory.

    Raises:
        FactoryError: it raises or exits.
        UsageError: it gives no module, or one that has nothing to train, is not whole, or not on the processor.
    """
    try:
        module = build()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        msg = f"Expected a factory that gives a module when called without arguments, got {clip(said(error), 300)}: call it by hand."
        raise FactoryError(msg) from error
    if inspect.iscoroutine(module):
        module.close()  # else Python warns that nobody awaited it
    if not isinstance(module, nn.Module):
        msg = f"Expected a torch.nn.Module from the factory, got {type(module).__name__}: return the module itself."
        raise UsageError(msg)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        msg = f"Expected a module with trainable parameters, got {type(module).__name__} without any: leave requires_grad on."
        raise UsageError(msg)
    held = [*module.parameters(), *module.buffers()]
    if any(map(is_lazy, held)):
        msg = f"Expected a module whose parameters have their sizes, got lazy ones in {type(module).__name__}: give the sizes, or call it once on a batch in the factory."
        raise UsageError(msg)
    if places := sorted({tensor.device.type for tensor in held} - {"cpu"}):
        msg = f"Expected a module on the processor, got tensors on {', '.join(places)}: build it there; planning it takes no memory, and a plan says where it is trained."
        raise UsageError(msg)
    return module


def optimizer_of(spec: str | MakeOptimizer, module: nn.Module) -> Optimizer:
    """The optimizer of a module's trainable parameters.

    Raises:
        UsageError: the function gives none.
    """
    make = OPTIMIZERS[spec] if isinstance(spec, str) else spec
    optimizer = make([parameter for parameter in module.parameters() if parameter.requires_grad])
    if not isinstance(optimizer, Optimizer):
        msg = f"Expected a torch.optim.Optimizer from the function of the parameters, got {type(optimizer).__name__}: return the optimizer itself."
        raise UsageError(msg)
    return optimizer


def shards(spec: str | MakeOptimizer) -> bool:
    """Whether an optimizer can train shards of a weight, as FSDP has it do; a function is asked for one of a small weight."""
    if isinstance(spec, str):
        return spec not in UNSHARDED
    try:
        return not isinstance(spec([nn.Parameter(torch.zeros(2, 2))]), Adafactor)
    except Exception:
        return True


def default_loss(output: Any, arguments: dict[str, Any]) -> Tensor:  # noqa: ARG001 - a loss of the user's takes both
    """The output where it is one number, its `loss` where it has one, else the mean square of all its tensors.

    Raises:
        UsageError: the output has no tensor that could be trained on.
    """
    if isinstance(output, Tensor) and output.numel() == 1 and output.is_floating_point():
        return output.reshape(())
    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if isinstance(loss, Tensor):
        return loss
    squares = [t.float().square().mean() for t in _tensors(output) if t.is_floating_point() and t.requires_grad]
    if not squares:
        kind = (
            f"a tensor of {str(output.dtype).removeprefix('torch.')}"
            if isinstance(output, Tensor)
            else type(output).__name__
        )
        gradient = " without gradient" if isinstance(output, Tensor) and not output.requires_grad else ""
        msg = f"Expected an output with floats to train on, got {kind}{gradient}: name a loss by package:function."
        raise UsageError(msg)
    return torch.stack(squares).sum() if len(squares) > 1 else squares[0]


def call(module: nn.Module, arguments: dict[str, Any]) -> Any:
    """Call by the arguments' names where the module has them, else in their order."""
    try:
        inspect.signature(module.forward).bind(**arguments)
    except TypeError:
        return module(*arguments.values())
    return module(**arguments)


def _tensors(output: Any) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for part in output.values():
            yield from _tensors(part)
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _tensors(part)


def _find(spec: str) -> Callable[..., Any]:
    name, _, attribute = spec.partition(":")
    if not name or not attribute:
        msg = f"Expected package:factory, got '{clip(spec)}': name an importable module and a function in it."
        raise UsageError(msg)
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        msg = f"Expected an importable module, got '{clip(name)}' ({clip(said(error), 200)}): check the name and PYTHONPATH."
        raise UsageError(msg) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            msg = f"Expected '{clip(attribute)}' in module '{clip(name)}', got none: name a function or class that it defines."
            raise UsageError(msg)
        found = getattr(found, part)
    if not callable(found):
        msg = f"Expected '{clip(spec)}' to be callable, got {type(found).__name__}: name a function or class."
        raise UsageError(msg)
    return found  # type: ignore[no-any-return]


def said(error: BaseException) -> str:
    """Class and first line of an error, as a part of a sentence."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": .")
