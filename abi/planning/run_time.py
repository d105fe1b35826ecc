"""What the time of a whole run leaves one training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from abi.errors import PlanInfeasible
from abi.types import Envelope
from abi.units import show_seconds

if TYPE_CHECKING:
    from abi.config import Config

STARTING_S: Final = 20.0
"""Starting, checking the data and recording take about so long (`make run`, two cores),"""
BESIDE: Final = 0.1
"""and scoring, the baseline and evaluation about this share of a run."""
STRUCTURES: Final = 5
"""Flat splits that are tried at most: even, frugal and pruned, two of them lean as well."""
TOGETHER: Final = 0.8
"""All pilots of a choice together take at most so much of the time of the training that they are for, where they are long."""


def limits(config: Config, *, controlled: bool = True) -> Envelope:
    """The envelope of one training: `envelope.train_time`, or less where the whole run has no time for that.

    Args:
        config: `envelope.run_time`, and which trainings there will be.
        controlled: whether a control is trained as well.
    """
    envelope, left_s = config.envelope.limits(), left_for_one(config, controlled=controlled)
    if left_s is None or (envelope.train_time_s is not None and envelope.train_time_s <= left_s):
        return envelope
    return replace(envelope, train_time_s=left_s)


def left_for_one(config: Config, *, controlled: bool = True) -> float | None:
    """Seconds of `envelope.run_time` for one training where all take as long; None where it is no limit."""
    left_s = left_for_trainings(config)
    return None if left_s is None else left_s / (trainings(config) * (2 if controlled else 1))


def left_for_trainings(config: Config) -> float | None:
    """Seconds of `envelope.run_time` for all trainings, without the tuning of encoders; None where it is no limit."""
    whole = config.envelope.run_time
    if whole is None:
        return None
    tuned = any(encoder.tune is not None for encoder in config.data.encoders.values())
    before_s = STARTING_S + tuned * (config.envelope.train_time or 0.0)
    return max((1 - BESIDE) * whole - before_s, BESIDE * whole)


def trainings(config: Config) -> float:
    """One round's training, its pilots as shares of it, and the refit; the control takes as many."""
    tried = STRUCTURES + len(config.attention.temperatures) + config.attention.blend
    return 1 + min(TOGETHER, tried * config.iterate.pilot) + config.training.refit


def with_reason(error: PlanInfeasible, config: Config) -> PlanInfeasible:
    """The same error, which says where its training time comes from if that is the whole run's."""
    whole, own = config.envelope.run_time, limits(config).train_time_s
    if whole is None or own == config.envelope.train_time or "train_time=" not in str(error):
        return error
    said = f"{error} (envelope.run_time={show_seconds(whole)} leaves {show_seconds(own or 0)} for one training.)"
    return PlanInfeasible(said, error.parameters, error.nearest)


def run_time_sentence(config: Config) -> str:
    """What the whole run's time leaves one training, in words; empty where it is no limit."""
    left_s, whole = left_for_one(config), config.envelope.run_time
    if left_s is None or whole is None:
        return ""
    own = config.envelope.train_time
    if own is not None and own <= left_s:
        return f"a training may take {show_seconds(own)}, for which {show_seconds(whole)} of the whole run leave room"
    again = ", the control and both refits" if config.training.refit else " and the control"
    return f"a training may take {show_seconds(left_s)} of the whole run's {show_seconds(whole)}: pilots{again} need the rest"
