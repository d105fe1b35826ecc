"""Checkpoints of a training as safetensors bytes: what a killed run goes on from, without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from abi.outcomes import Epoch


@runtime_checkable
class Checkpoints(Protocol):
    """Where one training keeps its checkpoint."""

    def load(self) -> bytes | None:
        """The last one, or None."""
        ...

    def save(self, data: bytes) -> None:
        """Replace it, atomically."""
        ...

    def clear(self) -> None:
        """Remove it: the training ended."""
        ...


@dataclass
class Progress:
    """Where a training stands.

    `share` is how much of the schedule is done. `end` is the last step where the time limit cut the schedule, and the
    anchor the step and share where it did. `best` are the weights of the best epoch, `best_share` the share at its end.
    """

    epoch: int = 0
    step: int = 0
    share: float = 0.0
    end: int | None = None
    anchor_step: int = 0
    anchor_share: float = 0.0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_share: float | None = None
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


def pack(
    network: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
    progress: Progress,
) -> bytes:
    """All that the next step depends on: weights, their average, optimizer state, the random states, progress."""
    tensors = {f"weights/{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{k}": v.detach().cpu().contiguous() for k, v in average.state_dict().items()}
    tensors |= {f"best/{k}": v.detach().cpu().contiguous() for k, v in progress.best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v).cpu().contiguous() for k, v in state.items()}
    tensors["random/torch"], tensors["random/shuffle"] = torch.get_rng_state(), shuffle.get_state()
    device = _device(network)
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    plain = {k: v for k, v in asdict(progress).items() if k not in {"best"}}
    return bytes(save_tensors(tensors, metadata={"progress": json.dumps(plain)}))


def restore_weights(data: bytes, network: nn.Module, average: nn.Module | None) -> None:
    """Put the weights back, and with them the sizes of what training shrinks."""
    tensors = load_tensors(data)
    network.load_state_dict(_part(tensors, "weights"))
    if average is not None:
        average.load_state_dict(_part(tensors, "average"))


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")}


def unpack(
    data: bytes,
    network: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
) -> Progress:
    """Put everything back where `pack` took it from."""
    tensors, plain = load_tensors(data), _progress(data)
    restore_weights(data, network, average)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _part(tensors, "optimizer").items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random/torch"])
    shuffle.set_state(tensors["random/shuffle"])
    device = _device(network)
    if device.type == "cuda" and "random/cuda" in tensors:  # checkpoints have not always had it
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    history = [Epoch(**line) for line in plain.pop("history")]
    return Progress(**plain, history=history, best=_part(tensors, "best"))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def last_epoch(checkpoints: Checkpoints | None) -> int:
    """The epoch that training goes on after; 0 where nothing was kept."""
    data = checkpoints.load() if checkpoints else None
    return 0 if data is None else int(_progress(data)["epoch"])


def _progress(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    plain: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["progress"])
    return plain
