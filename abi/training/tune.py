"""Tuning an encoder for the target, before it is frozen again: its last layers and a linear head, by AdamW.

The head starts as the best one there is on the untouched encoder's vectors, so that the first steps do not tear at layers
for a head that knows nothing yet (Kumar et al. 2022, "Fine-tuning can distort pretrained features"); its validation loss is
what an epoch has to fall below by a standard error. Training rows' vectors know their labels afterwards, which scores and the network that
learn from them take for more than it is worth on new rows: so epochs are few and end where validation loss rises.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from abi.errors import PlanInfeasible, TrainingDiverged
from abi.execution.recorder import Recorder
from abi.families.losses import members_loss
from abi.training.head import Known, fit_head, head_losses
from abi.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from abi.inputs.tunable import Tunable
    from abi.problem import Task
    from abi.reading import TuneConfig
    from abi.training.checkpoint import Checkpoints

BATCH: Final = 16
"""Rows of a step, as transformers are fine-tuned with."""
DECAY: Final = 0.01
"""Weight decay of matrices (Devlin et al. 2019)."""
WARMUP: Final = 0.1
"""Share of the steps in which the learning rate rises."""
LEAST_STEPS: Final = 8
"""With fewer in the time that there is, nothing is trained."""
_TIMED: Final = 4
_COPIES: Final = 4
"""Of each weight that is trained: gradient, two moments, the best epoch's."""


@dataclass(frozen=True)
class TuneRows:
    """The rows of one role that have a value: of each the number of its text or picture, and its target."""

    number: Int64[np.ndarray, " rows"]
    target: Shaped[Tensor, "rows ..."]


@dataclass(frozen=True)
class _Work:
    """What is trained, on which rows, and how."""

    model: Tunable
    head: nn.Linear
    train: TuneRows
    validation: TuneRows
    task: Task
    config: TuneConfig


@dataclass(frozen=True, kw_only=True)
class TuneLimits:
    """What tuning may take; None is no limit."""

    seconds: float | None
    memory_bytes: int | None


@dataclass
class TuneProgress:
    """Where a tuning stands; what is kept beside its tensors."""

    rows: int
    epochs: int
    micro_batch: int
    shortened: str
    loss_before: float = math.inf
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    loss_after: float = math.inf
    train_loss: float = math.inf
    over: bool = False
    best: dict[str, Tensor] = field(default_factory=dict)
    judged: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Validation loss of each row by the untouched encoder."""


def tune(
    model: Tunable,
    vectors: Shaped[Tensor, "values dimensions"],
    train: TuneRows,
    validation: TuneRows,
    task: Task,
    outputs: int,
    config: TuneConfig,
    limits: TuneLimits,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> TuneProgress:
    """Train the model's last layers; gives what came of it, with the weights of the best epoch.

    Args:
        model: is left as the last epoch made it.
        vectors: what the untouched encoder makes of the texts or pictures, by their numbers.
        train: rows that it learns from.
        validation: rows that choose the epoch.
        task: decides the loss.
        outputs: numbers that the head says of a row.
        config: epochs and learning rate.
        limits: of time and memory.
        seed: of the order of rows and of dropout.
        checkpoints: goes on after the last epoch that was kept there.

    Raises:
        PlanInfeasible: one row does not fit the memory.
        TrainingDiverged: a loss became NaN or infinite.
    """
    began = time.perf_counter()
    saved = checkpoints.load() if checkpoints is not None else None
    if saved is None:
        head, before = fit_head(_known(vectors, train), _known(vectors, validation), task, outputs)
        head.to(model.device)
        micro = _micro_batch(model, copy.deepcopy(head), train, task, vectors, limits.memory_bytes)
        left = None if limits.seconds is None else limits.seconds - (time.perf_counter() - began)
        work = _Work(model, head, train, validation, task, config)
        progress = _fitting(work, micro, left)
        progress.judged, progress.loss_before = before, float(before.mean())
    else:
        head = nn.Linear(vectors.shape[1], outputs).to(model.device)
        work = _Work(model, head, train, validation, task, config)
        progress = TuneProgress(**_plain(saved))
    run = _Run(work, seed)
    if saved is not None:
        run.restore(saved, progress)
    began -= progress.seconds
    while progress.epoch < progress.epochs and not progress.over:
        run.epoch(progress, None if limits.seconds is None else began + limits.seconds)
        progress.seconds = time.perf_counter() - began
        if checkpoints is not None:
            checkpoints.save(run.pack(progress))
    progress.seconds = time.perf_counter() - began
    return progress


class _Run:
    """The optimizer of one tuning, and its epochs."""

    def __init__(self, work: _Work, seed: int) -> None:
        self.work, self.seed = work, seed
        self.named = dict(work.model.last.named()) | {f"head.{name}": p for name, p in work.head.named_parameters()}
        wide = [p for p in self.named.values() if p.ndim > 1]
        thin = [p for p in self.named.values() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": wide, "weight_decay": DECAY}, {"params": thin, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=work.config.learning_rate)

    def epoch(self, progress: TuneProgress, deadline: float | None) -> None:
        """One pass over the rows, then a look at validation rows."""
        work = self.work
        torch.manual_seed(self.seed + 1 + progress.epoch)  # an epoch's dropout is the same where it is begun again
        random = torch.Generator().manual_seed(self.seed + 1 + progress.epoch)
        rows = chosen_rows(len(work.train.number), progress.rows, self.seed)
        batches = work.model.batches(work.train.number[rows], BATCH, random)
        steps = progress.epochs * len(batches)
        work.model.last.train(True)
        losses = list[float]()
        for batch in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = work.config.learning_rate * slope((progress.step + 1) / steps)
            losses.append(
                add_gradients(work.model, work.head, work.train, rows[batch], work.task, progress.micro_batch)
            )
            if not math.isfinite(losses[-1]):
                msg = f"Expected a finite loss in tuning, got {losses[-1]} after {progress.step} steps: set a smaller tune.learning_rate in data.encoders."
                raise TrainingDiverged(msg)
            self.optimizer.step()
            self.optimizer.zero_grad()
            progress.step += 1
            if deadline is not None and time.perf_counter() > deadline:
                progress.over = True
                progress.shortened = (
                    f"the time of the envelope ended in epoch {progress.epoch + 1} of {progress.epochs}"
                )
                break
        work.model.last.train(False)
        progress.epoch += 1
        judged = self.judge()
        loss, better = float(judged.mean()), is_better(judged, progress.judged)
        if loss >= progress.loss_after:
            progress.over |= progress.step > WARMUP * steps  # a rise before that says little
        elif better or not progress.best:  # what is told is of the epoch that is kept
            progress.loss_after, progress.train_loss = loss, float(np.mean(losses))
        if better and loss <= progress.loss_after:
            progress.best_epoch = progress.epoch
            progress.best = {name: p.detach().cpu().clone() for name, p in work.model.last.named().items()}

    def judge(self) -> Float[Tensor, " rows"]:
        """Loss of each validation row, by the encoder as it is now with its head."""
        values, number = np.unique(self.work.validation.number, return_inverse=True)
        known = Known(
            torch.from_numpy(self.work.model.encoded(values)),
            torch.from_numpy(number.astype(np.int64)),
            self.work.validation.target,
        )
        return head_losses(self.work.head, known, self.work.task)

    def pack(self, progress: TuneProgress) -> bytes:
        """All that the next epoch depends on."""
        tensors = {f"weights/{name}": p.detach().cpu().contiguous() for name, p in self.named.items()}
        tensors["judged"] = progress.judged
        tensors |= {f"best/{name}": p.contiguous() for name, p in progress.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v).cpu().contiguous() for k, v in state.items()}
        plain = {k: v for k, v in asdict(progress).items() if k not in {"best", "judged"}}
        return bytes(save_tensors(tensors, metadata={"progress": json.dumps(plain)}))

    def restore(self, data: bytes, progress: TuneProgress) -> None:
        """Put it back."""
        tensors = load_tensors(data)
        progress.judged = tensors["judged"]
        state: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[f"weights/{name}"])
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            if part == "best":
                progress.best[name] = tensor
            elif part == "optimizer":
                index, _, moment = name.partition("/")
                state.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def is_better(losses: Float[Tensor, " rows"], others: Float[Tensor, " rows"]) -> bool:
    """Whether the mean loss of the same rows is lower by more than its standard error."""
    gain = others - losses
    return float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain))


def chosen_rows(rows: int, few: int, seed: int) -> Int64[np.ndarray, " few"]:
    """So many of the rows, drawn at random."""
    return np.arange(rows) if few >= rows else np.sort(np.random.default_rng(seed).permutation(rows)[:few])


def slope(share: float) -> float:
    """The learning rate after this share of the steps: up in a line, then down to zero in a line."""
    return share / WARMUP if share < WARMUP else (1 - share) / (1 - WARMUP)


def add_gradients(
    model: Tunable, head: nn.Linear, rows: TuneRows, batch: Int64[np.ndarray, " batch"], task: Task, micro: int
) -> float:
    """Gradients of the mean loss of a batch, so many rows at a time; gives that loss."""
    total = 0.0
    for part in np.split(batch, range(micro, len(batch), micro)):
        out = head(model.vectors(rows.number[part]))
        target = rows.target[torch.from_numpy(part)].to(model.device)
        loss = members_loss(out.unsqueeze(1), target, task) * (len(part) / len(batch))
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        total += float(loss.detach())
    return total


def _known(vectors: Tensor, rows: TuneRows) -> Known:
    return Known(vectors, torch.from_numpy(rows.number), rows.target)


def _micro_batch(
    model: Tunable, head: nn.Linear, train: TuneRows, task: Task, vectors: Tensor, memory_bytes: int | None
) -> int:
    """Rows that may go through the layers together: what one and two of the longest take is measured.

    Raises:
        PlanInfeasible: one is too many.
    """
    if memory_bytes is None:
        return BATCH
    longest = TuneRows(np.full(2, model.longest()), train.target[:2])
    one, two = (_peak_bytes(model, head, longest, np.arange(rows), task) for rows in (1, 2))
    each = max(1, two - one)
    trained = sum(p.numel() * p.element_size() for p in model.last.named().values())
    fixed = one - each + (_COPIES - 1) * trained + 3 * vectors.numel() * vectors.element_size() + model.held_bytes
    rows = min(BATCH, (memory_bytes - fixed) // each)
    if rows < 1:
        msg = f"Expected memory for a step of one row to tune the encoder within envelope.memory={show_bytes(memory_bytes)}, got a need of {show_bytes(fixed + each)}: raise it, or set fewer tune.layers (or, of texts, max_tokens) in data.encoders."
        raise PlanInfeasible(msg)
    return int(rows)


def _peak_bytes(model: Tunable, head: nn.Linear, rows: TuneRows, batch: Int64[np.ndarray, " batch"], task: Task) -> int:
    """Bytes alive at the peak of one pass forth and back: weights, gradients, activations."""
    recorder = Recorder()
    recorder.follow([*model.last.weights(), *head.parameters()])
    with recorder:
        recorder.enter("forward")
        add_gradients(model, head, rows, batch, task, len(batch))
    peak = recorder.phases["forward"].peak_bytes
    for parameter in (*model.last.named().values(), *head.parameters()):
        parameter.grad = None
    return int(peak)


def _fitting(work: _Work, micro: int, left_s: float | None) -> TuneProgress:
    """How many rows and epochs the time is enough for: some steps are timed, and a look at the validation rows."""
    rows, epochs = len(work.train.number), work.config.epochs
    progress = TuneProgress(rows=rows, epochs=epochs, micro_batch=micro, shortened="")
    if left_s is None:
        return progress
    began = time.perf_counter()
    step_s, look_s = _timed(work, micro)
    left_s -= time.perf_counter() - began
    epoch_s = step_s * math.ceil(rows / BATCH) + look_s
    progress.epochs = min(epochs, max(1, int(left_s / epoch_s)))
    if progress.epochs * epoch_s <= left_s:
        if progress.epochs < epochs:
            progress.shortened = (
                f"{progress.epochs} of {epochs} epochs fit envelope.train_time, at {show_seconds(epoch_s)} each"
            )
        return progress
    steps = max(0, int((left_s - look_s) / step_s))
    progress.rows = min(rows, steps * BATCH)
    progress.shortened = (
        f"{progress.rows} of {rows} rows fit envelope.train_time, at {show_seconds(step_s)} for {BATCH}"
    )
    progress.over = steps < LEAST_STEPS
    return progress


def _timed(work: _Work, micro: int) -> tuple[float, float]:
    """(seconds of a step, seconds of a look at all validation rows): the mean of some after a first one."""
    tried = copy.deepcopy(work.head)
    batches = work.model.batches(work.train.number, BATCH, torch.Generator().manual_seed(0))[: _TIMED + 1]
    began = time.perf_counter()
    for i, batch in enumerate(batches):
        if i == 1:
            began = time.perf_counter()
        add_gradients(work.model, tried, work.train, batch, work.task, micro)
    step_s = (time.perf_counter() - began) / max(1, len(batches) - 1)
    for parameter in work.model.last.named().values():
        parameter.grad = None
    values = np.unique(work.validation.number)
    some = values[:: max(1, len(values) // (_TIMED * BATCH))]
    began = time.perf_counter()
    work.model.encoded(some)
    return step_s, (time.perf_counter() - began) * len(values) / len(some)


def _plain(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    plain: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["progress"])
    return plain
