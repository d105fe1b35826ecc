"""The rules by which validation rows decide, on figures that are recorded: a run and its replay apply the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from abi.outcomes import Candidate
from abi.types import Attention, Family, Trial

Losses = Float[np.ndarray, " rows"]

WORDS: Final[dict[Family, str]] = {"network": "the network", "trees": "the trees", "blend": "the blend"}


def paired(first: Losses, second: Losses) -> tuple[float, float | None]:
    """Mean of first - second and its standard error; None where one row alone says nothing of it."""
    gained = first - second
    error = float(gained.std(ddof=1) / np.sqrt(len(gained))) if len(gained) > 1 else None
    return float(gained.mean()), error


def trial_of(attention: Attention, loss: float, metric: float | None, rows: Losses, preferred: Losses | None) -> Trial:
    """What a pilot of `attention` came to.

    Args:
        attention: the candidate.
        loss: validation loss.
        metric: the primary one.
        rows: loss of each validation row.
        preferred: the same of the candidate that was preferred before it; None for the first.
    """
    gain, error = (None, None) if preferred is None else paired(preferred, rows)
    return Trial(
        temperature=attention.temperature,
        loss=loss,
        metric=metric,
        frugal=attention.frugal,
        pruned=attention.pruned,
        blended=attention.blend is not None,
        lean=attention.lean,
        gain=gain,
        error=error,
    )


def flattest(trials: Sequence[Trial], caution: float, most: float = math.inf) -> int:
    """Index of the flattest split that no steeper one beats by more than noise.

    A steeper split is taken where its mean loss is lower by more than `caution` standard errors of the paired
    difference over the validation rows (the one-standard-error rule of Breiman et al. 1984, on paired rows).

    Args:
        trials: from flat to steep, each compared with the one that was preferred before it.
        caution: standard errors asked for; of few rows they are wide, so where it is negative,
        most: a steeper split is not taken either where its loss is higher than the least before it by more than this.
    """
    chosen = 0
    for steeper, trial in enumerate(trials):
        surely = trial.gain is not None and trial.error is not None and trial.gain > caution * trial.error
        if surely and trial.loss - min(t.loss for t in trials[: steeper + 1]) <= most:
            chosen = steeper
    return chosen


def standings(losses: Sequence[Losses]) -> list[tuple[float, float, float | None]]:
    """Of each candidate: mean loss, how much that is above the least, and the standard error of that."""
    means = [float(loss.mean()) for loss in losses]
    best = means.index(min(means))
    return [(mean, *paired(loss, losses[best])) for mean, loss in zip(means, losses, strict=True)]


def keep(names: Sequence[Family], found: Sequence[tuple[float, float, float | None]]) -> tuple[int, str]:
    """Which family is kept, and why, in a sentence.

    The one with the least mean loss, the blend as well: what two kinds of models get wrong in their own ways cancels,
    so the blend is no less likely a choice beforehand. To ask for one standard error before it is taken cost 1.5% of loss on
    rows that had decided nothing (14 splits of six open tables); to take it whenever it is ahead cost nothing.

    Args:
        names: families, the blend last where there is one.
        found: what `standings` found of the same.
    """
    order = sorted(range(len(names)), key=lambda i: found[i][0])
    best, *others = order
    reason = f"{WORDS[names[best]]} {'have' if names[best] == 'trees' else 'has'} the least validation loss"
    told = []
    for other in others:
        mean, behind, error = found[other]
        share = behind / max(abs(mean), 1e-300)
        errors = 0.0 if error is None else behind / max(error, 1e-300)
        told.append(f"{share:.1%} less than {WORDS[names[other]]} ({errors:.1f} standard errors)")
    return best, ", ".join([reason, " and ".join(told)]) if told else reason


def keep_again(candidates: Sequence[Candidate]) -> tuple[int, str] | None:
    """The same from what was recorded; None where that does not say enough."""
    found = [(c.row_loss, c.behind, c.error) for c in candidates]
    known = [(mean, behind, error) for mean, behind, error in found if mean is not None and behind is not None]
    return keep([c.family for c in candidates], known) if len(known) == len(candidates) else None


def asked_blend(weight: float) -> str:
    """Why a blend that was asked for is kept."""
    return f"training.family asks for the blend; the network's share of {weight:.0%} is fitted on validation rows"


def with_obstacle(reason: str, obstacle: str) -> str:
    """Why a family was kept, and why there was no blend."""
    return f"{reason}; {obstacle}" if obstacle else reason


def pick_control(pilots: Sequence[float], plans: int, seed: int) -> tuple[int, int]:
    """Which of the control's plans is trained, and with which first seed: those of the pilot with the least loss.

    Args:
        pilots: losses, over plans and then seeds.
        plans: how many there are.
        seed: of the first pilot.
    """
    best = pilots.index(min(pilots)) if pilots else 0
    return best % plans, seed + best // plans
