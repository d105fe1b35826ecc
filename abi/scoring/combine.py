"""The terms of a score, and the score that they combine to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64

from abi.errors import UsageError

if TYPE_CHECKING:
    from abi.config import ScoringConfig


_DECIMALS = 12

PerFeature: TypeAlias = Float64[np.ndarray, " features"]


@dataclass(frozen=True)
class Terms:
    """Terms of all features: per view where they come from counts, per feature where one number holds for all views.

    Relevance and discrimination may be below 0 by chance, which a score takes for 0 and an interval needs. `carries` says of
    which features something is told alone, `beside` is the p-value of what others add beside these (NaN: not tested).
    """

    relevance: Float64[np.ndarray, "views features"]
    discrimination: Float64[np.ndarray, "views features"]
    complexity: Float64[np.ndarray, "views features"]
    redundancy: Float64[np.ndarray, " features"]
    null: Float64[np.ndarray, " features"]
    p_value: Float64[np.ndarray, " features"]
    carries: Bool[np.ndarray, " features"]
    beside: Float64[np.ndarray, " features"] | None = None

    def compared(
        self, redundancy: Float64[np.ndarray, " features"], beside: Float64[np.ndarray, " features"] | None
    ) -> Terms:
        """The same with what features were compared with each other for."""
        return replace(self, redundancy=redundancy, beside=beside)


def combine(terms: Terms, config: ScoringConfig) -> PerFeature:
    """Scores in [0, 1]; the most useful feature has 1.

    With R relevance, D discrimination, U redundancy, C complexity and the settings' weights w:

        s = (w_r sqrt(R) + w_d sqrt(D (1 - U))) / (w_r + w_d) * (1 + w_c C) / (1 + w_c)

    divided by the largest s of a feature that carries signal; all are 0 where none does. R and D are shares of entropy
    and variance and so of the order of a squared correlation; the roots take them to the scale of a correlation.
    Without them most features of a real table lie within a tenth of 0 and a softmax sees one feature; with them a
    feature at a quarter of the best one's R has half its score, and temperatures from 1 to 0.15 give the best feature
    between e^1 = 3 and e^7 = 800 times the weight of a useless one. Redundancy lowers D alone, so that a copy of the
    best feature keeps the share of R and is not taken for noise.

    A feature that does not carry signal has C = 0 and, as R, what is above the null's 95% point.
    """
    raw = _raw(terms, terms.relevance[0], terms.discrimination[0], terms.carries, config)
    largest = _largest(raw, terms)
    return np.clip(raw / largest, 0.0, 1.0) if largest > 0 else np.zeros_like(raw)


def interval(terms: Terms, config: ScoringConfig, errors: float) -> tuple[PerFeature, PerFeature]:
    """(low, high) of each score, so many standard errors of its terms away.

    R and D rise and fall together, so s at their lower ends is its lower end, and likewise above; the root is not
    linear near 0, and s itself has no error there that could be told from its views. Standard errors are those of the
    delete-a-group jackknife, SE^2 = (G - 1)/G sum_g (x_g - mean x)^2 over the views x_g without a group. The largest s
    has an error of its own, a share of every score: it is added in quadrature.

    An end counts as carrying signal where its R is above the null: below, the feature may be noise, and the lower end
    is that of noise. The upper end is never cut off there, since that no signal was found does not say that there is none.
    """
    carries = terms.carries
    spread = [errors * jackknife_error(views) for views in (terms.relevance, terms.discrimination)]
    below, above = (
        (terms.relevance[0] + sign * spread[0], terms.discrimination[0] + sign * spread[1]) for sign in (-1, 1)
    )
    middle = _raw(terms, terms.relevance[0], terms.discrimination[0], carries, config)
    low = _raw(terms, *below, carries & (below[0] > terms.null), config)
    high = _raw(terms, *above, np.ones_like(carries), config)
    largest = _largest(middle, terms)
    if largest <= 0:
        return np.zeros_like(middle), np.zeros_like(middle)
    best = int(np.argmax(np.where(carries, middle, -1.0)))
    of_best = np.array(
        [
            _raw(terms, *views, carries, config)[best]
            for views in zip(terms.relevance[1:], terms.discrimination[1:], strict=True)
        ]
    )
    scale = errors * float(jackknife_error(np.append(middle[best], of_best)[:, None])[0]) / largest
    low, middle, high = low / largest, middle / largest, high / largest
    common = (middle * scale) ** 2
    return (
        np.clip(middle - np.sqrt((middle - low) ** 2 + common), 0.0, 1.0),
        np.clip(middle + np.sqrt((high - middle) ** 2 + common), 0.0, 1.0),
    )


def jackknife_error(views: Float64[np.ndarray, "views features"]) -> PerFeature:
    """The standard error of what the first view gives, from those without a group each."""
    return np.asarray(np.sqrt((len(views) - 2) * views[1:].var(axis=0)))


def _largest(raw: PerFeature, terms: Terms) -> float:
    return float(raw[terms.carries].max(initial=0.0))


def _raw(
    terms: Terms,
    relevance: PerFeature,
    discrimination: PerFeature,
    carries: Bool[np.ndarray, " features"],
    config: ScoringConfig,
) -> PerFeature:
    """Scores before they are divided by the largest, for these values of two terms."""
    shares = config.relevance + config.discrimination
    if shares <= 0:
        msg = (
            "Expected scoring.relevance or scoring.discrimination above 0, got 0 for both: "
            "set at least one, since complexity alone says nothing about the target."
        )
        raise UsageError(msg)
    told = np.clip(np.where(carries, relevance, relevance - terms.null), 0.0, 1.0)
    own = np.clip(discrimination, 0.0, 1.0) * (1 - terms.redundancy)
    # the root of a rounding error is no longer small
    told, own = told.round(_DECIMALS), own.round(_DECIMALS)
    raw = (config.relevance * np.sqrt(told) + config.discrimination * np.sqrt(own)) / shares
    raw *= (1 + config.complexity * terms.complexity[0] * carries) / (1 + config.complexity)
    return np.asarray(raw)
