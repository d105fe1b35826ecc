"""What a module is fed: names, types and shapes of tensors, as a user writes them.

``x=f32[B,128]`` is one tensor of 32-bit floats with 128 numbers per row; ``ids=i64[B,64]<30522`` holds integers below
30522. Several are joined by commas. B stands for the number of rows.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from abi.errors import UsageError, clip, listed
from abi.values import Value

DTYPES: Final = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "i16": torch.int16,
    "i8": torch.int8,
    "u8": torch.uint8,
    "bool": torch.bool,
}
_TENSOR: Final = re.compile(r"\s*(\w+)\s*=\s*(\w+)\s*\[([^\]]*)\]\s*(?:<\s*([^\s,]+))?\s*")
_FORM: Final = "'x=f32[B,128]' or 'ids=i64[B,64]<30522,labels=i64[B]<2'"


@runtime_checkable
class Batch(Protocol):
    """Anything that gives a module's keyword arguments at a number of rows."""

    def make(self, rows: int, device: str = "cpu") -> dict[str, Any]:
        """The arguments of one call of the module."""
        ...


@dataclass(frozen=True, kw_only=True)
class TensorSpec(Value):
    """One tensor: its name, type, sizes (None is the number of rows) and the bound below which its integers lie."""

    name: str
    dtype: str
    sizes: tuple[int | None, ...]
    below: int | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(size for size in self.sizes if size is not None) * DTYPES[self.dtype].itemsize

    def make(self, rows: int, device: str) -> Tensor:
        """Normal floats, or integers from 0 up to the bound (2 where none is given)."""
        shape = [rows if size is None else size for size in self.sizes]
        kind = DTYPES[self.dtype]
        if kind.is_floating_point:
            return torch.randn(shape, dtype=kind, device=device)
        return torch.randint(0, self.below or 2, shape, dtype=torch.int64, device=device).to(kind)


@dataclass(frozen=True, kw_only=True)
class BatchSpec(Value):
    """All tensors of a batch, by the names of the module's arguments."""

    tensors: tuple[TensorSpec, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of input."""
        return sum(tensor.row_bytes for tensor in self.tensors)

    def make(self, rows: int, device: str = "cpu") -> dict[str, Any]:
        """Random tensors; fake ones where FakeTensorMode is on."""
        return {tensor.name: tensor.make(rows, device) for tensor in self.tensors}


def parse_batch(text: str) -> BatchSpec:
    """Read a batch as a user writes it.

    Raises:
        UsageError: it is not written so, has no B, an unknown type, or a size or bound below 1.
    """
    tensors, at = [], 0
    while at < len(text):
        found = _TENSOR.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            msg = f"Expected a batch such as {_FORM}, got '{clip(text)}': write name=type[B,sizes] for each tensor."
            raise UsageError(msg)
        tensors.append(_tensor(*found.groups()))
        at = found.end() + 1
    if not tensors or text.rstrip().endswith(","):
        msg = f"Expected a batch such as {_FORM}, got '{clip(text)}': name at least one tensor, with no comma behind the last."
        raise UsageError(msg)
    names = [tensor.name for tensor in tensors]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"Expected each tensor of the batch once, got {listed(twice)} twice: give each its own name."
        raise UsageError(msg)
    return BatchSpec(tensors=tuple(tensors))


def _tensor(name: str, dtype: str, shape: str, bound: str | None) -> TensorSpec:
    if dtype not in DTYPES:
        msg = f"Expected a type of {', '.join(DTYPES)} for '{clip(name)}', got '{clip(dtype)}': name one of these."
        raise UsageError(msg)
    parts = [part.strip() for part in shape.split(",")]
    if parts.count("B") != 1:
        msg = f"Expected B once in the shape of '{clip(name)}', got [{clip(shape)}]: B stands for the number of rows."
        raise UsageError(msg)
    sizes = tuple(None if part == "B" else _positive(part, f"sizes of '{clip(name)}'") for part in parts)
    below = None if bound is None else _positive(bound, f"a bound of '{clip(name)}'")
    if below is not None and DTYPES[dtype].is_floating_point:
        msg = f"Expected a bound on integers alone, got <{below} on '{clip(name)}' of {dtype}: leave it out."
        raise UsageError(msg)
    if below is not None and DTYPES[dtype] != torch.bool and below - 1 > torch.iinfo(DTYPES[dtype]).max:
        msg = f"Expected a bound that {dtype} of '{clip(name)}' can hold, got <{below}: take a wider type or a lower bound."
        raise UsageError(msg)
    return TensorSpec(name=name, dtype=dtype, sizes=sizes, below=below)


def _positive(text: str, what: str) -> int:
    number = int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else 0
    if number < 1:
        msg = (
            f"Expected {what} to be whole numbers from 1 on, got '{clip(text)}': give the number that the module takes."
        )
        raise UsageError(msg)
    return number
