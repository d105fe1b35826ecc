"""The blend of relevance, discrimination and complexity in a score, fitted to what a short-trained model showed.

The settings' blend is a guess made before any model was seen. Here it is the start: the flat split's pilot says how much
it uses each feature, and the blend moves to where the softmax of the scores comes closest to that, as far as noise and the
number of features allow. The scores themselves stay as the data gave them; the fitted blend is one more candidate that
validation rows judge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, xlogy

from abi.attention.fit import fit
from abi.config import ScoringConfig
from abi.scoring.combine import Terms, combine
from abi.types import Attention, ScoreBlend, Scores, Trial, Usage

if TYPE_CHECKING:
    from abi.config import Config

Vector = Float[np.ndarray, " features"]

SHARES: Final = np.linspace(0.0, 1.0, 21)
"""Candidates for discrimination's share; relevance has the rest."""
COMPLEXITIES: Final = (0.0, 0.25, 0.5, 1.0)
TEMPERATURES: Final = (0.05, 10.0)
SPREAD: Final = 0.3
"""How far from the settings' blend one may be expected to lie, before a model is asked: a standard deviation."""
DIGITS: Final = 6


def fit_blend(
    scores: Scores,
    shares: Vector,
    heard: Bool[np.ndarray, " features"],
    default: ScoringConfig,
    *,
    spread: float = SPREAD,
) -> tuple[ScoreBlend, float]:
    """The blend and temperature t whose softmax(score / t) is closest to a model's shares.

    Minimises over discrimination's share q, complexity c and t

        KL(shares || softmax(s(q, c) / t)) + D0 / (n sigma^2) ((q - q0)^2 + (c - c0)^2)

    where q0, c0 and D0 are the default's share, complexity and divergence, n the features, sigma = `spread`. It is the
    posterior of a blend that lies around the default, where n features leave a misfit of D0, from noise or from what no
    blend can tell: D0 / n is that of one feature, so that with few features or noisy shares the default stays. For given q
    and c the divergence is convex in 1/t, and a bounded search finds its least; q and c are taken from a grid, the default
    among it, which ties go to.

    Args:
        scores: from the data.
        shares: the model's own importance, on the simplex.
        heard: features that the model was given; it says nothing about the others.
        default: the settings' blend.
        spread: sigma; infinite is no shrinkage.
    """
    total = default.relevance + default.discrimination
    start = (default.discrimination / total, default.complexity)
    target = shares[heard] / shares[heard].sum()
    least, temperature = _closest(blended_scores(scores, default)[heard], target)
    strength = least / (heard.sum() * spread**2)
    best = (least, least, temperature, start)
    for place in ((float(q), c) for c in COMPLEXITIES for q in SHARES):
        divergence, temperature = _closest(blended_scores(scores, _weights(*place))[heard], target)
        loss = divergence + strength * ((place[0] - start[0]) ** 2 + (place[1] - start[1]) ** 2)
        if loss < best[0] - 1e-9:
            best = (loss, divergence, temperature, place)
    _, divergence, temperature, place = best
    weights = _weights(*place)
    blend = ScoreBlend(
        relevance=_rounded(weights.relevance),
        discrimination=_rounded(weights.discrimination),
        complexity=_rounded(weights.complexity),
        divergence=round(divergence, DIGITS),
        divergence_default=round(least, DIGITS),
    )
    return blend, _rounded(temperature)


def blended_scores(scores: Scores, blend: ScoringConfig) -> Vector:
    """The scores that the same terms make under another blend."""
    features = scores.features

    def row(name: str) -> Vector:
        return np.array([getattr(f, name) for f in features], dtype=np.float64)

    terms = Terms(
        relevance=row("relevance")[None],
        discrimination=row("discrimination")[None],
        complexity=row("complexity")[None],
        redundancy=row("redundancy"),
        null=row("null"),
        p_value=row("p_value"),
        carries=np.array([f.carries_signal and not f.only_beside for f in features]),
    )
    return combine(terms, blend)


def fit_blended(
    scores: Scores,
    blend: ScoreBlend,
    temperature: float,
    config: Config,
    trials: tuple[Trial, ...] = (),
    *,
    frugal: bool = False,
    pruned: bool = False,
    lean: bool = False,
) -> Attention:
    """Attention as `abi.attention.fit.fit` makes it of the blended scores; intervals keep their distance from the score."""
    asked = ScoringConfig(relevance=blend.relevance, discrimination=blend.discrimination, complexity=blend.complexity)
    features = tuple(
        replace(f, score=s, low=max(0.0, s - (f.score - f.low)), high=min(1.0, s + (f.high - f.score)))
        for f, s in zip(scores.features, blended_scores(scores, asked).tolist(), strict=True)
    )
    fitted = fit(
        replace(scores, features=features),
        temperature,
        config.attention,
        trials,
        frugal=frugal,
        pruned=pruned,
        lean=lean,
    )
    return replace(fitted, scores=scores, blend=blend)


def fit_to_model(
    scores: Scores,
    usage: Usage,
    config: Config,
    *,
    frugal: bool = False,
    pruned: bool = False,
    lean: bool = False,
) -> Attention | None:
    """Attention of the blend that comes closest to a model's own importance; None where there is nothing to fit.

    Args:
        scores: from the data.
        usage: the model's own importance, as `abi.training.rescore.rescore` gives it, and what the model was given.
        config: the settings' blend; floor and cap.
        frugal: as in `abi.attention.fit.fit`.
        pruned: the same.
        lean: the same.
    """
    carries = np.array([f.carries_signal for f in scores.features])
    shares, heard = np.array(usage.shares), np.array(usage.heard)
    if heard.sum() < 2 or not (heard & carries).any():  # noqa: PLR2004 - one share is always 1
        return None
    blend, temperature = fit_blend(scores, shares, heard, config.scoring)
    return fit_blended(scores, blend, temperature, config, frugal=frugal, pruned=pruned, lean=lean)


def _weights(share: float, complexity: float) -> ScoringConfig:
    return ScoringConfig(relevance=1 - share, discrimination=share, complexity=complexity)


def _closest(scores: Vector, target: Vector) -> tuple[float, float]:
    """Least divergence over temperatures, and where."""
    own = float(xlogy(target, target).sum())

    def divergence(inverse: float) -> float:
        return own - float((target * log_softmax(scores * inverse)).sum())

    coldest, warmest = TEMPERATURES
    found = minimize_scalar(divergence, bounds=(1 / warmest, 1 / coldest), method="bounded")
    return max(0.0, float(found.fun)), 1 / float(found.x)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
