"""The loop: AdamW, warm-up and cosine decay, early stopping on validation loss, checkpoints, resume."""

from __future__ import annotations

import copy
import functools
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from abi.errors import TrainingDiverged
from abi.execution.meter import Steps, metered
from abi.families.artifact import CHUNK_ROWS, Blueprint, Model, build, compact, joined
from abi.families.kept import kept_parameters
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.families.preparation import prepare
from abi.inputs.text import TextEncoder
from abi.metrics import row_loss
from abi.outcomes import Epoch, Revision, TermWidth, Trained
from abi.planning.limits import training_seconds
from abi.planning.on_devices import device_count, on_devices
from abi.problem import Schema, Task
from abi.training.checkpoint import Checkpoints, Progress, last_epoch, pack, restore_weights, unpack
from abi.training.decay import FeatureDecay
from abi.training.dropping import Dropping
from abi.training.fitted import Fitted, metric_of, rounded
from abi.training.latency import predict_seconds
from abi.training.memory import peak_bytes
from abi.training.objective import row_losses, training_target
from abi.training.out_of_memory import is_out_of_memory, release, revise
from abi.training.pace import Pace, schedule
from abi.training.parallel import Alone
from abi.training.processes import together
from abi.training.profile import profiled
from abi.training.watch import Unwatched, Watcher
from abi.types import Cost, Execution, Plan
from abi.units import show_count

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

CLIP: Final = 1.0
LOOK: Final = 64
"""Steps after which it is looked whether a loss or gradient was lost, where looking means to wait for a GPU."""
SHOWN_TERMS: Final = 60
"""Terms of a text that the value of a training names."""
Stopped = Literal["finished", "early", "time"]
STOPPED: Final[tuple[Stopped | None, ...]] = (None, "finished", "early", "time")


@dataclass
class _Data:
    """Encoded rows and targets on the training device."""

    train: Cells
    target: Tensor
    validation: Cells
    validation_target: Tensor


@dataclass
class _State:
    """What a training holds between two steps; `average` is there where this process validates by one."""

    network: Network
    average: Network | None
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    decay: FeatureDecay
    dropping: Dropping
    shuffle: torch.Generator
    progress: Progress
    pace: Pace

    @property
    def judged(self) -> Network:
        """What is validated and kept."""
        return self.network if self.average is None else self.average


def train(
    plan: Plan,
    train: Columns,
    validation: Columns,
    config: Config,
    *,
    seed: int,
    watcher: Watcher | None = None,
    checkpoints: Checkpoints | None = None,
    profile: bool = False,
    processes: int | None = None,
) -> Fitted[Model]:
    """Train exactly what `plan` says and keep the weights of the epoch with the least validation loss.

    With a checkpoint, training goes on where it was; so it does, with smaller micro-batches, when memory runs out. On a
    machine that is slower than planned the schedule is shortened (see `abi.training.pace`), so that training still ends
    inside its limit; otherwise it is repeatable bit by bit. With `profile` it is also found out where memory and time of a
    step go. Where there are several processes, each trains on a device of its own (see `abi.training.parallel`);
    `processes` is how many, by default as many as the plan's configuration has devices.

    Raises:
        TrainingDiverged: a loss or gradient became NaN or infinite; the message names the cause.
        PlanInfeasible: there is no memory for a step of one row.
        ProcessLost: one of several processes ended before its time.
    """
    count = device_count(plan) if processes is None else processes
    watcher, execution, revisions = watcher or Unwatched(), plan.execution, list[Revision]()
    while True:
        failed: BaseException | None = None
        run = functools.partial(
            _attempt, replace(plan, execution=execution), train, validation, config, seed, profile=profile
        )
        try:
            if count > 1:
                fitted = together(run, count=count, device=execution.device, watcher=watcher, checkpoints=checkpoints)
            else:
                fitted = run(watcher=watcher, checkpoints=checkpoints, group=Alone())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = error.with_traceback(None)  # its frames hold the tensors
        if failed is None:
            assert fitted is not None
            return replace(fitted, trained=replace(fitted.trained, plan=plan, revisions=tuple(revisions)))
        own_rows = -(-min(execution.batch_rows, len(train)) // count)
        execution, revision = revise(execution, own_rows, last_epoch(checkpoints), failed)
        release(execution.device)
        revisions.append(revision)
        watcher.revised(revision)


def _attempt(
    plan: Plan,
    train: Columns,
    validation: Columns,
    config: Config,
    seed: int,
    *,
    watcher: Watcher,
    checkpoints: Checkpoints | None,
    profile: bool,
    group: Alone,
) -> Fitted[Model] | None:
    """Train as this process of a group; the first one gives the result, others None."""
    plan = replace(plan, execution=group.place(plan.execution))
    execution, schema = plan.execution, plan.attention.scores.problem.schema
    if not group.leads:
        validation = validation.take(np.arange(1))  # others judge nothing
    torch.set_num_threads(execution.threads)
    torch.manual_seed(seed)
    preparation, fitting = prepare(schema, plan.capacity, train, plan.attention)
    blueprint = Blueprint(
        family="network",
        schema=schema,
        capacity=plan.capacity,
        preparation=preparation,
        prior=tuple(w.weight for w in plan.attention.weights),
        dropout=execution.dropout,
    )
    network = build(blueprint, low_precision=execution.precision == "bfloat16", masks=fitting.masks)
    network.term_dropout = execution.term_dropout
    device = torch.device(execution.device)
    planned = on_devices(plan)
    if planned is not None and device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = planned.configuration.arithmetic == "tf32"
    data = _Data(
        network.encode(train, fitting).to(device),
        training_target(train, schema, preparation).to(device),
        network.encode(validation).to(device),
        training_target(validation, schema, preparation).to(device),
    )
    network.to(device)
    rows = (data.train, data.target, data.validation)
    own = replace(execution, batch_rows=-(-execution.batch_rows // group.size))
    found = profiled(network, *rows, own, schema.task) if profile and group.leads else None
    memory = peak_bytes(network, *rows, own, schema.task) if device.type != "cuda" and group.leads else None
    with metered(execution.device) as meter:
        progress, stopped = _loop(network, data, plan, config, seed, watcher, checkpoints, meter.steps, group)
        resources = meter.read(memory)
    if device.type == "cuda":
        resources = replace(resources, energy_j=group.joules(resources.energy_j))
    if not group.leads:
        return None
    network.load_state_dict(progress.best)
    network.low_precision = False
    model = compact(Model(blueprint, network.cpu()))
    cells = model.network.encode(validation) if len(network.texts) else data.validation.to(torch.device("cpu"))
    prediction = model.predict_cells(cells)
    assert validation.target is not None
    kept, layers = kept_parameters(network) if plan.capacity.pruning else (np.zeros(0), None)
    trained = Trained(
        plan=plan,
        seed=seed,
        artifact=model.artifact,
        best_epoch=progress.best_epoch,
        stopped=stopped,
        loss=rounded(progress.best_loss),
        metric=metric_of(schema.task, validation.target, prediction, config),
        measured=Cost(
            parameters=model.parameters,
            memory_bytes=resources.active_bytes or 0,
            train_time_s=round(progress.seconds, 3),
            latency_s=predict_seconds(model, validation),
        ),
        attention=tuple(rounded(a) for a in network.attention.weights().detach().tolist()),
        history=tuple(progress.history),
        terms=_widest(model, plan),
        kept=tuple(int(k) for k in kept),
        layers=layers,
        resources=resources,
        profile=found,
    )
    return Fitted(model, trained, row_loss(schema.task, validation.target, prediction))


def _widest(model: Model, plan: Plan) -> tuple[TermWidth, ...]:
    """The terms with the most cells of each text, then the best scores."""
    found: list[TermWidth] = []
    for (_, given), encoder in zip(model.network.places.text, model.network.texts, strict=True):
        assert isinstance(encoder, TextEncoder)
        scored = plan.attention.scores.terms_of(given.feature)
        score_of = dict(zip(scored.terms, scored.scores, strict=True))
        terms = model.blueprint.preparation.lexicons[given.feature].terms
        ranked = sorted(zip(encoder.widths(), terms, strict=True), key=lambda wt: (-wt[0], -score_of[wt[1]], wt[1]))
        found += [
            TermWidth(feature=given.feature, term=term, score=rounded(score_of[term]), width=int(width))
            for width, term in ranked[:SHOWN_TERMS]
        ]
    return tuple(found)


def _loop(
    network: Network,
    data: _Data,
    plan: Plan,
    config: Config,
    seed: int,
    watcher: Watcher,
    checkpoints: Checkpoints | None,
    steps: Steps,
    group: Alone,
) -> tuple[Progress, Stopped]:
    state = _begun(network, data, plan, seed, checkpoints, group)
    progress, pace = state.progress, state.pace
    last_save = time.perf_counter()
    stopped: Stopped | None = None
    while stopped is None:
        group.begin(seed, progress.epoch)
        epoch_began = time.perf_counter()
        loss = _epoch(state, data, plan, config.attention.kl, watcher, steps, group)
        progress.epoch += 1
        judge = functools.partial(_validate, state.judged, data, plan, config, progress, loss, epoch_began, watcher)
        if group.leads:
            judge(state.dropping.done(state.judged))
        progress.seconds = pace.seconds
        stopped = STOPPED[group.agree(STOPPED.index(_stopped(progress, pace, plan.execution)))]
        if stopped is not None and group.agree(
            not progress.best
        ):  # the clock cut training before the last weights went
            _drop(state, 1.0, group)
            if group.leads:
                judge(within=True)
        save = stopped is None and checkpoints is not None and group.leads
        if save and time.perf_counter() - last_save >= config.training.checkpoint:
            assert checkpoints is not None
            checkpoints.save(pack(network, state.average, state.optimizer, state.shuffle, progress))
            last_save = time.perf_counter()
    return progress, stopped


def _begun(
    network: Network, data: _Data, plan: Plan, seed: int, checkpoints: Checkpoints | None, group: Alone
) -> _State:
    """As the checkpoint left it, or at the start."""
    execution = plan.execution
    average = copy.deepcopy(network) if execution.average and group.leads else None
    saved = checkpoints.load() if checkpoints else None
    if saved is not None:
        restore_weights(saved, network, average)  # their sizes, before the optimizer reads them
    optimizer = torch.optim.AdamW(_parameter_groups(network, execution), lr=execution.learning_rate, fused=True)
    decay = FeatureDecay(network, plan.capacity, execution.weight_decay)
    shuffle = torch.Generator().manual_seed(seed)
    progress = Progress() if saved is None else unpack(saved, network, average, optimizer, shuffle)
    group.align(network, optimizer)
    return _State(
        network=network,
        average=average,
        parameters=list(network.parameters()),
        optimizer=optimizer,
        decay=decay,
        dropping=Dropping(network, plan.capacity, data.train, progress.share),
        shuffle=shuffle,
        progress=progress,
        pace=Pace(execution.epochs * _steps(data, execution), training_seconds(plan), progress, group.agree),
    )


def _epoch(state: _State, data: _Data, plan: Plan, kl: float, watcher: Watcher, steps: Steps, group: Alone) -> float:
    """Steps until all rows were taken or the time is over; gives their mean loss."""
    execution, task = plan.execution, plan.attention.scores.problem.schema.task
    network, progress, pace = state.network, state.progress, state.pace
    network.train()
    losses = torch.zeros((), device=data.target.device)
    lost = ~torch.isfinite(losses)
    steps.begin()
    for part in torch.randperm(data.train.rows, generator=state.shuffle).tensor_split(_steps(data, execution)):
        own, share = group.own(part)
        index = own.to(data.target.device)
        rate = _set_rate(state.optimizer, execution.learning_rate * schedule(progress.share))
        state.optimizer.zero_grad(set_to_none=True)
        loss, whole = group.add_up(state.parameters, *_backward(network, data, index, share, execution, task, kl))
        state.dropping.hold(network)
        norm = nn.utils.get_total_norm([p.grad for p in state.parameters if p.grad is not None], foreach=True)
        lost = lost | ~torch.isfinite(norm + whole)
        _expect_none(lost, network, whole, progress, rate)
        nn.utils.clip_grads_with_norm_(state.parameters, CLIP, norm, foreach=True)
        state.decay.before_step(network, rate)
        state.optimizer.step()
        losses += loss * (len(part) / data.train.rows)
        pace.step()
        _drop(state, progress.share, group)
        _average(state.average, network, execution.average, progress.step)
        watcher.step(progress.step, progress.step + pace.remaining)
        steps.tick()
        if pace.over:
            break
    _expect_none(lost, network, whole, progress, rate, now=True)
    return float(losses)


def _drop(state: _State, share: float, group: Alone) -> None:
    """Drop what is due when `share` of training is done, the same in every process."""
    if state.dropping.step(share, state.network, state.average, state.optimizer):
        group.align(state.network, state.optimizer)
        state.parameters = list(state.network.parameters())


def _backward(
    network: Network, data: _Data, index: Tensor, weight: float, execution: Execution, task: Task, kl: float
) -> tuple[Tensor, Tensor]:
    """Gradients of the mean loss over the rows times `weight`; gives that, and the same with the divergence."""
    loss, whole = torch.zeros(2, device=index.device).unbind()
    for rows in torch.split(index, execution.part_rows):
        share = weight * (len(rows) / len(index))
        out = network(data.train.take(rows))
        own = members_loss(out, data.target.index_select(0, rows), task, execution.smoothing)
        total = own + kl * network.attention.divergence()
        (total * share if share < 1 else total).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        loss, whole = loss + own.detach() * share, whole + total.detach() * share
    return loss, whole


def _expect_none(
    lost: Tensor, network: Network, loss: Tensor, progress: Progress, rate: float, *, now: bool = False
) -> None:
    """Looks whether a loss or gradient was lost, on a GPU now and then alone."""
    if (now or not lost.is_cuda or progress.step % LOOK == 0) and lost:
        raise TrainingDiverged(_cause(network, loss, progress, rate))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> float:
    """Each group's rate is its share of `rate`, which is given back."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def _steps(data: _Data, execution: Execution) -> int:
    """Steps of one epoch."""
    return max(1, math.ceil(data.train.rows / execution.batch_rows))


def _stopped(progress: Progress, pace: Pace, execution: Execution) -> Stopped | None:
    if pace.over or progress.epoch >= execution.epochs:
        return "time" if pace.cut else "finished"
    if progress.best and progress.epoch - progress.best_epoch >= execution.patience:
        return "early"
    return None


def _average(average: Network | None, network: Network, decay: float, step: int) -> None:
    """Exponential moving average of the weights (Polyak and Juditsky 1992), with a shorter memory at the start."""
    if average is None:
        return
    share = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), share)


def _validate(
    network: Network,
    data: _Data,
    plan: Plan,
    config: Config,
    progress: Progress,
    train_loss: float,
    epoch_began: float,
    watcher: Watcher,
    within: bool,
) -> None:
    """One line of history; keeps the weights where the loss is the least so far, of those `within` the plan."""
    schema = plan.attention.scores.problem.schema
    prediction = _predict(network, data.validation, schema.task, plan.execution.micro_batch or CHUNK_ROWS)
    loss = float(row_losses(prediction, data.validation_target, schema.task).mean())
    if not math.isfinite(loss):
        msg = f"Validation loss became {loss} in epoch {progress.epoch}: lower training.learning_rate or check the data for extreme values."
        raise TrainingDiverged(msg)
    line = Epoch(
        epoch=progress.epoch,
        train_loss=rounded(train_loss),
        validation_loss=rounded(loss),
        metric=_metric(prediction, data.validation_target, schema, config),
        seconds=round(time.perf_counter() - epoch_began, 4),
    )
    progress.history.append(line)
    if within and loss < progress.best_loss:
        progress.best_loss, progress.best_epoch = loss, progress.epoch
        progress.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    watcher.epoch(line, network.attention.weights().detach().cpu().double().numpy(), _norms(network))


def _predict(network: Network, cells: Cells, task: Task, chunk_rows: int) -> Tensor:
    network.eval()
    with torch.no_grad():
        parts = [
            joined(network(cells.take(index.to(_device(network)))), task)
            for index in torch.split(torch.arange(cells.rows), chunk_rows)
        ]
    return torch.cat(parts)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _metric(prediction: Tensor, target: Tensor, schema: Schema, config: Config) -> float | None:
    plain = prediction.double().cpu().numpy()
    if schema.task == "binary":
        plain = np.column_stack([1 - plain, plain])
    return metric_of(schema.task, target.cpu().numpy(), plain, config)


def _parameter_groups(network: Network, execution: Execution) -> list[dict[str, Any]]:
    """Weight decay for the backbone's matrices only: not for encoders, biases, adapters or attention."""
    decayed, encoders, free = [], [], []
    for name, parameter in network.named_parameters():
        if name.startswith(("numeric", "category", "shared", "texts")):
            encoders.append(parameter)
        elif name.startswith(("layers", "head")) and parameter.ndim > 1:
            decayed.append(parameter)
        else:
            free.append(parameter)
    return [
        {"params": decayed, "weight_decay": execution.weight_decay, "factor": 1.0},
        {"params": free, "weight_decay": 0.0, "factor": 1.0},
        {"params": encoders, "weight_decay": 0.0, "factor": execution.encoder_factor},
    ]


def _norms(network: Network) -> dict[str, float]:
    """L2 norm of each part of the network."""
    squares: dict[str, float] = {}
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        squares[part] = squares.get(part, 0.0) + float(parameter.detach().square().sum())
    return {part: math.sqrt(value) for part, value in squares.items()}


def _cause(network: Network, loss: Tensor, progress: Progress, rate: float) -> str:
    """Which part went wrong first, in words."""
    where = f"epoch {progress.epoch + 1}, step {progress.step + 1}, learning rate {rate:.2g}"
    if not torch.isfinite(loss):
        return f"Training loss became {float(loss)} ({where}): lower training.learning_rate or check the data for extreme values."
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"The gradient of {name} ({show_count(parameter.numel())} parameters) became NaN or infinite ({where}): lower training.learning_rate or set training.precision to float32."
    return f"The gradient norm overflowed ({where}): lower training.learning_rate."
