"""Score, fit attention, then rounds of plan, train and move, in this process: the flow of a run without its controls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from abi.attention.fit import fit
from abi.cores import cores
from abi.devices.request import parse
from abi.planning.asked import asked_devices, expect_here, torch_name
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.planning.margins import margin
from abi.planning.measure import find_device, find_precision, measure
from abi.planning.recipe import SMALL_ROWS
from abi.planning.run_time import limits
from abi.report.wording import refit_sentence, split_name
from abi.scoring.score import score
from abi.training.family import train
from abi.training.refit import refit
from abi.training.revise import revise
from abi.training.rounds import best_round, decide
from abi.training.trees_pilots import fit_families
from abi.units import show_count, show_seconds

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.reader import Reader
    from abi.families.family import Model
    from abi.outcomes import Trained
    from abi.types import Attention, Family, Plan, Scores

DECIDING_ROWS: Final = 50
"""Fewer validation rows than this cannot tell one split from another: attention starts even, and one round is trained."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What the chain ended with: the data's scores, every round, and the model of the best one."""

    model: Model
    kept: Trained
    rounds: tuple[Trained, ...]
    scores: Scores


def retrain(reader: Reader, config: Config, say: Say) -> Outcome:
    """Train the model of `reader.problem` under the envelope of `config`.

    Torch's random state and number of threads are put back as they were.

    Raises:
        PlanInfeasible: nothing fits the envelope.
        TrainingDiverged: a loss became NaN or infinite.
    """
    train_rows, validation_rows = reader.load("train"), reader.load("validation")
    scores = score(reader, config.scoring, tail=config.attention.tail > 0)
    say(f"score: {sum(f.carries_signal for f in scores.features)} of {len(scores.features)} features carry signal")
    decides = len(validation_rows) >= DECIDING_ROWS
    with _torch_state_kept(find_device(config.training.device)):
        machine = _machine(config, len(train_rows))

        def divide(attention: Attention, family: Family | None = None) -> Plan:
            return plan_family(
                attention,
                limits(config, controlled=False),
                config,
                machine,
                train_rows=len(train_rows),
                validation_rows=len(validation_rows),
                family=family,
            )

        if decides:
            attention = fit_families(scores, config, divide, train_rows, validation_rows)
        else:
            attention = fit(
                scores, None, config.attention, frugal=any(f.kind == "text" for f in reader.problem.schema.features)
            )
        say(f"fit: {split_name(attention)}")
        plan, rounds, models = divide(attention), [], []
        continues = True
        while continues:
            fitted = train(plan, train_rows, validation_rows, config, seed=config.seed + plan.attention.round)
            rounds.append(fitted.trained)
            models.append(fitted.model)
            cost = fitted.trained.measured
            say(
                f"round {len(rounds)}: {show_count(cost.parameters)} parameters, {show_seconds(cost.train_time_s)}, validation loss {fitted.trained.loss:.4g}"
            )
            if not decides or len(rounds) >= config.iterate.rounds:
                break
            plan = divide(revise(fitted.model, validation_rows, plan.attention, config), fitted.trained.family)
            continues, reason = decide(rounds, plan, config, controlled=False)
            say(f"{'another round' if continues else 'rounds end'}: {reason}")
        best = best_round(rounds)
        model, kept = models[best], rounds[best]
        if config.training.refit:
            model, kept = refit(model, kept, reader.load("taught"), config)
            assert kept.refit is not None
            say(f"refit: {refit_sentence(kept.family, kept.refit)}")
    return Outcome(model=model, kept=kept, rounds=tuple(rounds), scores=scores)


def _machine(config: Config, rows: int) -> Machine:
    """The constants of this machine; small tables get one thread where none is asked for: their steps are too short to share."""
    settings = config.training
    asked = asked_devices(config, lambda text: parse(text, config.devices))
    expect_here(asked, config.devices)
    device = find_device(settings.device) if asked is None else torch_name(asked)
    threads = settings.threads or (1 if rows < SMALL_ROWS else min(cores(), torch.get_num_threads()))
    found = _measured(device, find_precision(settings.precision, device), threads)
    return replace(found, margins=(margin("network"), margin("trees")), cluster=asked)


_measured = functools.cache(measure)
"""Once per process: a few seconds."""


@contextmanager
def _torch_state_kept(device: str) -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng([device] if device.startswith("cuda") else []):
            yield
    finally:
        torch.set_num_threads(threads)
