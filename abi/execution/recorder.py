"""Follow storages and operators of a run, fake or real.

Every storage that an operator gives out is counted once, and again when its last tensor is gone. After each operator of
a phase the bytes alive are noted: two runs at different numbers of rows then give, instant by instant, what is fixed
and what grows with the rows.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from abi.execution.operators import flops_of, kind_of, moved_bytes, tensors_in, workspace
from abi.execution.types import OperatorCost, PhaseName, PhaseTrace

CUDA_ROUNDING: Final = 512
"""CUDA's allocator gives out multiples of this many bytes."""
_DEVICE = torch.ops.prim.device.default
_READ = torch.ops.aten._local_scalar_dense.default


@dataclass
class Recording:
    """One phase: bytes alive after each operator with its expected workspace, and with the most of it; the operators."""

    phase: PhaseName
    alive: list[int] = field(default_factory=list)
    at_most: int = 0
    operators: dict[str, list[float]] = field(default_factory=dict)
    """Name -> calls, FLOPs, bytes, counted (0 or 1), matrix (0 or 1)."""

    @property
    def peak_bytes(self) -> int:
        """The most bytes alive at a time."""
        return max(self.alive, default=0)

    def trace(self) -> PhaseTrace:
        """The same as a value."""
        return PhaseTrace(
            phase=self.phase,
            peak_bytes=self.peak_bytes,
            operators=tuple(
                OperatorCost(
                    name=name, calls=int(calls), flops=flops, bytes=moved, counted=bool(counted), matrix=bool(matrix)
                )
                for name, (calls, flops, moved, counted, matrix) in sorted(self.operators.items())
            ),
        )


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Records each phase that is entered, until `enter(None)`.

    Args:
        kind: of the device: CUDA's allocator rounds each storage up, a processor's kernels take workspace from it.
        numbers: whether an optimizer that reads a number from a fake tensor gets 1: it decides coefficients, not sizes.
    """

    def __init__(self, *, kind: Literal["gpu", "cpu"] = "cpu", numbers: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.phases: dict[PhaseName, Recording] = {}
        self._round, self._numbers = CUDA_ROUNDING if kind == "gpu" else 1, numbers
        self._workspace = kind == "cpu"
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._current: Recording | None = None

    def enter(self, phase: PhaseName | None) -> None:
        """Begin a phase anew, or end the one that is on."""
        self._current = None if phase is None else Recording(phase, [self.live], self.live)
        if self._current is not None and phase is not None:
            self.phases[phase] = self._current

    def follow(self, tensors: Iterable[Tensor]) -> bool:
        """Count the storages that are not known yet; returns whether there was one."""
        new = False
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            size = -(-size // self._round) * self._round
            known = self._known.get(key)
            if known is None:
                self._known[key] = weakref.ref(storage, self._forget(key)), size
                self.live += size
                new = True
            elif known[1] != size:  # it was resized in place
                self._known[key] = known[0], size
                self.live += size - known[1]
        return new

    def _forget(self, key: int) -> Any:
        def gone(_: object) -> None:
            self.live -= self._known.pop(key)[1]

        return gone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it did."""
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # asked for twice per operator, and slow to ask the fake mode for
        kwargs = kwargs or {}
        current = self._current
        if self._numbers and func is _READ and current is not None and current.phase == "optimizer":
            return 1.0
        out = func(*args, **kwargs)
        new = self.follow(tensors_in((out,)))
        if current is not None:
            kind = kind_of(func)
            expected, most = workspace(kind, args, out) if self._workspace and kind.formula else (0, 0)
            current.alive.append(self.live + expected)
            current.at_most = max(current.at_most, self.live + most)
            if not kind.free and (new or kind.mutates):  # else it gave a view
                costs = current.operators.setdefault(
                    kind.name, [0.0, 0.0, 0.0, float(kind.counted), float(kind.formula is not None)]
                )
                costs[0] += 1
                costs[1] += flops_of(kind, args, kwargs, out)
                costs[2] += moved_bytes(kind, args, kwargs, out)
        return out
