"""The terms of a score, and the score that they combine to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64

from abi.errors import UsageError

if TYPE_CHECKING:
    from abi.config import ScoringConfig


_DECIMALS = 12


@dataclass(frozen=True)
class Terms:
    """Terms of all features: per view where they come from counts, per feature where one number holds for all views."""

    relevance: Float64[np.ndarray, "views features"]
    discrimination: Float64[np.ndarray, "views features"]
    complexity: Float64[np.ndarray, "views features"]
    redundancy: Float64[np.ndarray, " features"]
    null: Float64[np.ndarray, " features"]
    p_value: Float64[np.ndarray, " features"]
    carries: Bool[np.ndarray, " features"]

    def with_redundancy(self, shares: Float64[np.ndarray, " features"]) -> Terms:
        """The same with redundancy filled in."""
        return replace(self, redundancy=shares)


def combine(terms: Terms, config: ScoringConfig) -> Float64[np.ndarray, "views features"]:
    """Scores in [0, 1]; the most useful feature has 1 in the view of all rows.

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
    raw = _raw(terms, terms.carries, config)
    largest = raw[0, terms.carries].max(initial=0.0)
    return np.clip(raw / largest, 0.0, 1.0) if largest > 0 else np.zeros_like(raw)


def combine_uncut(terms: Terms, config: ScoringConfig) -> Float64[np.ndarray, "views features"]:
    """The same scores, had every feature been found to carry signal: nothing is cut off at the null.

    Only for the upper ends of intervals: that no signal was found does not say that there is none.
    """
    raw = _raw(terms, np.ones_like(terms.carries), config)
    largest = raw[0, terms.carries].max(initial=0.0)
    return np.clip(raw / largest, 0.0, 1.0) if largest > 0 else np.zeros_like(raw)


def _raw(
    terms: Terms, carries: Bool[np.ndarray, " features"], config: ScoringConfig
) -> Float64[np.ndarray, "views features"]:
    shares = config.relevance + config.discrimination
    if shares <= 0:
        msg = (
            "Expected scoring.relevance or scoring.discrimination above 0, got 0 for both: "
            "set at least one, since complexity alone says nothing about the target."
        )
        raise UsageError(msg)
    told = np.where(carries, terms.relevance, np.maximum(terms.relevance - terms.null, 0.0))
    own = terms.discrimination * (1 - terms.redundancy)
    # the root of a rounding error is no longer small
    told, own = told.round(_DECIMALS), own.round(_DECIMALS)
    raw = (config.relevance * np.sqrt(told) + config.discrimination * np.sqrt(own)) / shares
    raw *= (1 + config.complexity * terms.complexity * carries) / (1 + config.complexity)
    return np.asarray(raw)
