"""Follow storages and operators of a run, fake or real.

Every storage that an operator gives out is counted once, and again when its last tensor is gone. After each operator of
a phase the bytes alive are noted: two runs at different numbers of rows then give, instant by instant, what is fixed
and what grows with the rows.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from abi.execution.cuda.allocator import ROUND, Block, CachingAllocator
from abi.execution.cuda.reached import FULL, times
from abi.execution.cuda.recurrent import handed, kernels
from abi.execution.cuda.workspace import cuda_workspace
from abi.execution.operators import Kind, flops_of, kind_of, moved_bytes, tensors_in
from abi.execution.target import PROCESSOR, Target
from abi.execution.types import OperatorCost, PhaseName, PhaseTrace
from abi.execution.workspace import workspace

LOW_BYTES: Final = 2
_DEVICE = torch.ops.prim.device.default
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}
_READ = torch.ops.aten._local_scalar_dense.default


class Call(NamedTuple):
    """One call of an operator that computes or moves something."""

    name: str
    flops: float
    bytes: float
    rate: str
    times: float
    tensor_times: float
    kernels: float


@dataclass
class Recording:
    """One phase: bytes alive after each operator with its expected workspace, and with the most of it; the operators.

    Of a GPU also the most that its allocator gave out and reserved, and whether it had to refuse.
    """

    phase: PhaseName
    alive: list[int] = field(default_factory=list)
    at_most: int = 0
    allocated: int = 0
    reserved: int = 0
    refused: bool = False
    dispatched: float = 0.0
    calls: list[Call] = field(default_factory=list)
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
            allocated_bytes=self.allocated,
            reserved_bytes=self.reserved,
            refused=self.refused,
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
        target: the device: CUDA's allocator rounds storages up and hands them out in blocks; kernels take workspace.
        limit: bytes that a GPU's allocator may reserve.
        numbers: whether an optimizer that reads a number from a fake tensor gets 1: it decides coefficients, not sizes.
    """

    def __init__(self, *, target: Target = PROCESSOR, numbers: bool = False, limit: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = target.library_bytes
        self.phases: dict[PhaseName, Recording] = {}
        self._target, self._numbers = target, numbers
        self._allocator = CachingAllocator(limit) if target.kind == "gpu" else None
        if self._allocator is not None:
            for part in target.library_parts:
                self._allocator.take(part)
        self._round = 1 if self._allocator is None else ROUND
        self._known: dict[int, tuple[weakref.ref[Any], int, Block | None]] = {}
        self._current: Recording | None = None

    def enter(self, phase: PhaseName | None) -> None:
        """Begin a phase anew, or end the one that is on."""
        self._end()
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
                self._known[key] = weakref.ref(storage, self._forget(key)), size, self._take(size)
                self.live += size
                new = True
            elif known[1] != size:  # it was resized in place
                self._give_back(known[2])
                self._known[key] = known[0], size, self._take(size)
                self.live += size - known[1]
        return new

    def _forget(self, key: int) -> Any:
        def gone(_: object) -> None:
            _, size, block = self._known.pop(key)
            self.live -= size
            self._give_back(block)

        return gone

    def _take(self, size: int) -> Block | None:
        return None if self._allocator is None else self._allocator.take(size)

    def _give_back(self, block: Block | None) -> None:
        if self._allocator is not None:
            self._allocator.give_back(block)

    def _end(self) -> None:
        """What the allocator gave out at most in the phase that ends."""
        if self._allocator is None:
            return
        if self._current is not None:
            self._current.allocated = self._allocator.most_allocated
            self._current.reserved = self._allocator.most_reserved
            self._current.refused = self._allocator.failed
        self._allocator.restart()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it did."""
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # asked for twice per operator, and slow to ask the fake mode for
        kwargs = kwargs or {}
        if func in _PRODUCTS and len(types := {t.dtype for t in tensors_in(args)}) > 1:  # fake tensors let it pass
            names = " and ".join(sorted(str(one).removeprefix("torch.") for one in types))
            msg = f"matrix products of one type are expected, not of {names}"
            raise RuntimeError(msg)
        current = self._current
        if self._numbers and func is _READ and current is not None and current.phase == "optimizer":
            return 1.0
        out = func(*args, **kwargs)
        new = self.follow(tensors_in((out,)))
        if current is not None and func is not _DEVICE:
            kind = kind_of(func)
            current.dispatched += 1 + handed(kind.name, args)
            expected, most = self._workspace(kind, args, out)
            current.alive.append(self.live + expected)
            current.at_most = max(current.at_most, self.live + most)
            if not kind.free and (new or kind.mutates):  # else it gave a view
                costs = current.operators.setdefault(
                    kind.name, [0.0, 0.0, 0.0, float(kind.counted), float(kind.formula is not None)]
                )
                call = self._call(kind, args, kwargs, out)
                current.calls.append(call)
                costs[0] += 1
                costs[1] += call.flops
                costs[2] += call.bytes
        return out

    def _call(self, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Call:
        flops, moved = flops_of(kind, args, kwargs, out), moved_bytes(kind, args, kwargs, out)
        low = any(tensor.element_size() == LOW_BYTES for tensor in tensors_in(args) if tensor.is_floating_point())
        rate = "" if not flops else "low" if low else "full" if kind.name in FULL else "own"
        if self._target.kind == "cpu":
            return Call(kind.name, flops, moved, rate, 1.0, 1.0, 1.0)
        return Call(kind.name, flops, moved, rate, *times(kind.name, args, low=low), kernels(kind.name, args))

    def _workspace(self, kind: Kind, args: tuple[Any, ...], out: Any) -> tuple[int, int]:
        """Bytes of a kernel besides its result, expected and at most; a GPU's allocator hands them out for a moment."""
        if self._allocator is None:
            return workspace(kind, args, out) if kind.formula else (0, 0)
        expected, most = cuda_workspace(kind.name, args, out, self._target)
        if expected:
            self._allocator.give_back(self._allocator.take(expected))
        return expected, most
