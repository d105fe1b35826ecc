"""The loop: AdamW, warm-up and cosine decay, early stopping on validation loss, checkpoints, resume."""

from __future__ import annotations

import copy
import functools
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from abi.execution.meter import Steps, metered
from abi.execution.out_of_memory import Shortage, first_line, is_out_of_memory, release, room_bytes
from abi.families.alignment import begin_alignment
from abi.families.artifact import Model, compact
from abi.families.begin import begin
from abi.families.decision import Decision, decided
from abi.families.kept import kept_parameters
from abi.families.network import Network
from abi.families.transfer import Start, carry_over
from abi.inputs.text import TextEncoder
from abi.outcomes import Revision, TermWidth, Trained
from abi.planning.limits import training_seconds
from abi.planning.on_devices import device_count, on_devices
from abi.training.alignment import end_alignment, present_rows
from abi.training.average import MovingAverage
from abi.training.balance import balance_of, leaning_of, losses_of
from abi.training.checkpoint import Checkpoints, Progress, last_epoch, pack, restore_weights, unpack
from abi.training.data import TrainingData
from abi.training.decision import decision_of
from abi.training.dropping import Dropping
from abi.training.fitted import Fitted, groups_in, metric_of, rounded
from abi.training.hardening import row_of_gaps
from abi.training.latency import predict_seconds
from abi.training.memory import peak_bytes
from abi.training.mixing import frequency_of
from abi.training.objective import training_target
from abi.training.orders import Orders
from abi.training.out_of_memory import revise
from abi.training.pace import Pace, schedule
from abi.training.parallel import Alone
from abi.training.processes import together
from abi.training.profile import profiled
from abi.training.rates import parameter_groups
from abi.training.start import start_at_shares, start_linear
from abi.training.step import Step
from abi.training.validation import validate, weights_of
from abi.training.watch import Unwatched, Watcher
from abi.types import Cost, Execution, Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

SHOWN_TERMS: Final = 60
"""Terms of a text that the value of a training names."""
SAME: Final = 1e-9
"""Shares of a schedule that differ by less are the same."""
Stopped = Literal["finished", "early", "time"]
STOPPED: Final[tuple[Stopped | None, ...]] = (None, "finished", "early", "time")


@dataclass(frozen=True)
class Again:
    """A training of all rows, with none left to judge it: how much of the schedule is run, and the decision found before."""

    share: float
    decision: Decision | None = None


@dataclass
class _State:
    """What a training holds between two steps; `average` is there where this process validates by one."""

    network: Network
    average: Network | None
    moving: MovingAverage | None
    optimizer: torch.optim.Optimizer
    dropping: Dropping
    shuffle: torch.Generator
    orders: Orders
    progress: Progress
    pace: Pace
    step: Step

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
    start: Start | None = None,
    again: Again | None = None,
) -> Fitted[Model]:
    """Train exactly what `plan` says and keep the weights of the epoch with the least validation loss.

    With a checkpoint, training goes on where it was; so it does, with smaller micro-batches, when memory runs out. On a
    machine that is slower than planned the schedule is shortened (see `abi.training.pace`), so that training still ends
    inside its limit; otherwise it is repeatable bit by bit. With `profile` it is also found out where memory and time of a
    step go. Where there are several processes, each trains on a device of its own (see `abi.training.parallel`);
    `processes` is how many, by default as many as the plan's configuration has devices. With a `start` the network begins
    with what it has in common with another model. Trained `again`, what validation rows would say is not looked at, and the
    last weights are kept.

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
            _attempt,
            replace(plan, execution=execution),
            train,
            validation,
            config,
            seed,
            profile=profile,
            start=start,
            again=again,
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
        # of processes of their own nobody is left to ask
        short = Shortage(said=first_line(failed), room_bytes=room_bytes(execution.device) if count == 1 else None)
        failed = None
        release(execution.device)
        running, epoch = replace(plan, execution=execution), last_epoch(checkpoints)
        execution, revision = revise(running, own_rows, epoch, short, kl=config.attention.kl, processes=count)
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
    start: Start | None,
    again: Again | None,
    group: Alone,
) -> Fitted[Model] | None:
    """Train as this process of a group; the first one gives the result, others None."""
    plan = replace(plan, execution=group.place(plan.execution))
    execution, schema = plan.execution, plan.attention.scores.problem.schema
    if not group.leads:
        validation = validation.take(np.arange(1))  # others judge nothing
    torch.set_num_threads(execution.threads)
    torch.manual_seed(seed)
    blueprint, network, fitting = begin(plan, train, low_precision=execution.precision == "bfloat16")
    if start is not None:
        carry_over(start, network, schema)
    network.term_dropout, network.modality_dropout = execution.term_dropout, execution.modality_dropout or 0.0
    assert train.target is not None
    if schema.task == "multilabel":
        start_at_shares(network, train.target)
    start_linear(network, schema, fitting.linear, fixed=True)
    begin_alignment(network, execution.alignment)
    device = torch.device(execution.device)
    planned = on_devices(plan)
    if planned is not None and device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = planned.configuration.arithmetic == "tf32"
    gone = row_of_gaps(network, schema, execution.hardening)
    balance = balance_of(execution.balance, train.target, len(schema.classes))
    groups = groups_in(train, schema)
    data = TrainingData(
        network.encode(train, fitting).to(device),
        training_target(train, schema, blueprint.preparation).to(device),
        network.encode(validation).to(device),
        training_target(validation, schema, blueprint.preparation).to(device),
        balance,
        leaning_of(balance, schema, device),
        groups,
        None if gone is None else gone.to(device),
        None if network.projections is None else present_rows(train, schema, plan.capacity).to(device),
        frequency_of(execution.hardening, schema, train.target, device),
        blueprint.preparation.target_deviation,
    )
    network.to(device)
    rows = (data.train, data.target, data.validation)
    own = replace(execution, batch_rows=-(-execution.batch_rows // group.size))
    found = profiled(network, *rows, own, schema.task) if profile and group.leads else None
    memory = peak_bytes(network, *rows, own, schema.task, gone) if device.type != "cuda" and group.leads else None
    with metered(execution.device) as meter:
        progress, stopped = _loop(network, data, plan, config, seed, watcher, checkpoints, meter.steps, group, again)
        resources = meter.read(memory)
    if device.type == "cuda":
        resources = replace(resources, energy_j=group.joules(resources.energy_j))
    if not group.leads:
        return None
    network.load_state_dict(progress.best)
    network.low_precision = False
    aligned = end_alignment(network, data.validation, validation, plan)
    model = compact(Model(blueprint, network.cpu()))
    cells = model.network.encode(validation) if len(network.texts) else data.validation.to(torch.device("cpu"))
    chance = model.predict_cells(cells)
    assert validation.target is not None
    decision = decision_of(schema, validation.target, chance) if again is None else again.decision
    if decision is not None:
        model = replace(model, blueprint=replace(model.blueprint, decision=decision))
    prediction = decided(decision, chance)
    kept, layers = kept_parameters(network) if plan.capacity.pruning else (np.zeros(0), None)
    trained = Trained(
        plan=plan,
        seed=seed,
        artifact=model.artifact,
        best_epoch=progress.best_epoch,
        stopped=stopped,
        loss=rounded(progress.best_loss),
        metric=metric_of(schema.task, validation.target, prediction, config, groups),
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
        retrieval=aligned,
        share=None if progress.end is None or progress.best_share is None else rounded(progress.best_share),
    )
    return Fitted(model, trained, losses_of(balance, schema.task, validation.target, chance))


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
    data: TrainingData,
    plan: Plan,
    config: Config,
    seed: int,
    watcher: Watcher,
    checkpoints: Checkpoints | None,
    steps: Steps,
    group: Alone,
    again: Again | None,
) -> tuple[Progress, Stopped]:
    state = _begun(network, data, plan, config.attention.kl, seed, checkpoints, group)
    progress, pace = state.progress, state.pace
    last_save = time.perf_counter()
    stopped: Stopped | None = None
    while stopped is None:
        group.begin(seed, progress.epoch)
        epoch_began = time.perf_counter()
        loss = _epoch(state, data, plan.execution, watcher, steps, group)
        progress.epoch += 1
        judge = functools.partial(validate, state.judged, data, plan, config, progress, loss, epoch_began, watcher)
        if group.leads and again is None:
            judge(state.dropping.done(state.judged))
        progress.seconds = pace.seconds
        stopped = STOPPED[group.agree(STOPPED.index(_stopped(progress, pace, plan.execution, again)))]
        if stopped is not None and again is not None:
            _drop(state, 1.0, group)
            progress.best_epoch, progress.best_loss, progress.best = progress.epoch, loss, weights_of(state.judged)
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
    network: Network,
    data: TrainingData,
    plan: Plan,
    kl: float,
    seed: int,
    checkpoints: Checkpoints | None,
    group: Alone,
) -> _State:
    """As the checkpoint left it, or at the start."""
    execution = plan.execution
    average = copy.deepcopy(network) if execution.average and group.leads else None
    saved = checkpoints.load() if checkpoints else None
    if saved is not None:
        restore_weights(saved, network, average)  # their sizes, before the optimizer reads them
    optimizer = torch.optim.AdamW(parameter_groups(network, execution), lr=execution.learning_rate, fused=True)
    shuffle = torch.Generator().manual_seed(seed)
    progress = Progress() if saved is None else unpack(saved, network, average, optimizer, shuffle)
    group.align(network, optimizer)
    dropping = Dropping(network, plan.capacity, data.train, progress.share, plan.attention)
    return _State(
        network=network,
        average=average,
        moving=None if average is None else MovingAverage(average, network, execution.average),
        optimizer=optimizer,
        dropping=dropping,
        shuffle=shuffle,
        orders=Orders(data, shuffle, ahead=data.target.is_cuda),
        progress=progress,
        pace=Pace(execution.epochs * _steps(data, execution), training_seconds(plan), progress, group.agree),
        step=Step(network, optimizer, dropping, data, plan, kl, group, progress),
    )


def _epoch(
    state: _State, data: TrainingData, execution: Execution, watcher: Watcher, steps: Steps, group: Alone
) -> float:
    """Steps until all rows were taken or the time is over; gives their mean loss."""
    progress, pace, step = state.progress, state.pace, state.step
    state.network.train()
    state.network.halve(progress.share < (execution.half_size or 0.0))
    step.begin()
    steps.begin()
    for part in state.orders.take().tensor_split(_steps(data, execution)):
        step(part, execution.learning_rate * schedule(progress.share))
        pace.step()
        _drop(state, progress.share, group)
        if state.moving is not None:
            state.moving.step(progress.step)
        watcher.step(progress.step, progress.step + pace.remaining)
        steps.tick()
        if pace.over:
            break
    state.orders.look_ahead()
    return step.end()


def _drop(state: _State, share: float, group: Alone) -> None:
    """Drop what is due when `share` of training is done, the same in every process."""
    if state.dropping.step(share, state.network, state.average, state.optimizer):
        group.align(state.network, state.optimizer)
        state.step.forget()
        if state.moving is not None:
            state.moving.forget()


def _steps(data: TrainingData, execution: Execution) -> int:
    """Steps of one epoch."""
    return max(1, math.ceil(data.train.rows / execution.batch_rows))


def _stopped(progress: Progress, pace: Pace, execution: Execution, again: Again | None) -> Stopped | None:
    if again is not None:
        done = pace.over or progress.share >= again.share - SAME
        return None if not done else "time" if pace.cut else "finished"
    if pace.over or progress.epoch >= execution.epochs:
        return "time" if pace.cut else "finished"
    # at another size than a network is judged by, its loss says little
    small = math.ceil((execution.half_size or 0.0) * execution.epochs)
    if progress.best and progress.epoch - max(progress.best_epoch, small) >= execution.patience:
        return "early"
    return None
