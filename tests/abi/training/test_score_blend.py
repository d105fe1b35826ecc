"""The blend of a score's terms, fitted to a model's own importance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.config import ScoringConfig
from abi.training.score_blend import blended_scores, fit_blend, fit_blended, fit_to_model
from abi.types import FeatureScore, Scores, Usage

DEFAULT = ScoringConfig()
ALONE = {
    "relevance": ScoringConfig(relevance=1, discrimination=0, complexity=0),
    "discrimination": ScoringConfig(relevance=0, discrimination=1, complexity=0),
}


@pytest.fixture(name="scores")
def _scores(toy: Any) -> Scores:
    """Sixteen features whose relevance and discrimination disagree; the last two carry no signal."""
    random = np.random.default_rng(3)
    problem = toy.problem({f"x{i}": "numeric" for i in range(16)})
    plain = toy.scores(problem, [0.5] * 16)

    def feature(old: FeatureScore, carries: bool) -> FeatureScore:
        r, d, u, c = (float(v) for v in random.random(4))
        return replace(
            old, relevance=r, discrimination=d, redundancy=u / 2, complexity=c if carries else 0.0, null=0.1,
            carries_signal=carries,
        )  # fmt: skip

    features = tuple(feature(f, i < 14) for i, f in enumerate(plain.features))
    own = blended_scores(replace(plain, features=features), DEFAULT).tolist()
    features = tuple(
        replace(f, score=s, low=max(0.0, s - 0.1), high=min(1.0, s + 0.1)) for f, s in zip(features, own, strict=True)
    )
    return replace(plain, features=features)


def _softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp(values / temperature)
    return np.asarray(weights / weights.sum())


def _fit(scores: Scores, shares: np.ndarray, **settings: float) -> Any:
    return fit_blend(scores, shares, np.ones(len(shares), dtype=bool), DEFAULT, **settings)


def test_the_same_terms_make_another_score_by_hand(toy: Any) -> None:
    plain = toy.scores(toy.problem({"a": "numeric", "b": "numeric"}), [0.5, 0.5])
    a, b = plain.features
    features = (
        replace(a, relevance=0.25, discrimination=0.36, redundancy=0.0, complexity=1.0),
        replace(b, relevance=0.04, discrimination=0.5, redundancy=0.5, complexity=0.0),
    )
    scores = replace(plain, features=features)
    assert blended_scores(scores, ALONE["relevance"]) == pytest.approx([1, 0.4])  # 0.5 and 0.2
    assert blended_scores(scores, ALONE["discrimination"]) == pytest.approx([1, 0.5 / 0.6])
    # (3 * 0.5 + 0.6) / 4 and (3 * 0.2 + 0.5) / 4, the second over 1 + 1
    asked = ScoringConfig(relevance=3, discrimination=1, complexity=1)
    assert blended_scores(scores, asked) == pytest.approx([1, 1.1 / 2.1 / 2])


@pytest.mark.parametrize(("term", "share"), [("relevance", 0.0), ("discrimination", 1.0)])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_shares_that_one_term_alone_makes_give_that_blend_and_temperature(
    scores: Scores, term: str, share: float, temperature: float
) -> None:
    shares = _softmax(blended_scores(scores, ALONE[term]), temperature)
    blend, found = _fit(scores, shares, spread=np.inf)
    assert (blend.relevance, blend.discrimination, blend.complexity) == (1 - share, share, 0.0)
    assert found == pytest.approx(temperature, rel=1e-3)
    assert blend.divergence == pytest.approx(0.0, abs=1e-6)
    assert blend.divergence_default > 0


def test_shares_that_the_settings_blend_makes_leave_it(scores: Scores) -> None:
    blend, temperature = _fit(scores, _softmax(blended_scores(scores, DEFAULT), 0.3))
    assert (blend.relevance, blend.discrimination, blend.complexity) == (0.666667, 0.333333, 0.25)
    assert temperature == pytest.approx(0.3, rel=1e-3)
    assert blend.divergence == blend.divergence_default == 0


def test_the_scale_of_the_settings_shares_does_not_matter(scores: Scores) -> None:
    shares = _softmax(blended_scores(scores, ALONE["discrimination"]), 0.3)
    doubled = ScoringConfig(relevance=2, discrimination=1)
    every = np.ones(16, dtype=bool)
    assert fit_blend(scores, shares, every, DEFAULT) == fit_blend(scores, shares, every, doubled)


def test_a_blend_is_left_for_what_explains_the_shares_alone(scores: Scores) -> None:
    clear = _softmax(blended_scores(scores, ALONE["discrimination"]), 0.5)
    assert _fit(scores, clear)[0].discrimination >= 0.8
    random = np.random.default_rng(0)
    found = [_fit(scores, random.dirichlet(np.ones(16)))[0] for _ in range(20)]
    free = [_fit(scores, random.dirichlet(np.ones(16)), spread=np.inf)[0] for _ in range(20)]

    def away(blends: list[Any]) -> float:
        return float(np.mean([abs(b.discrimination - 1 / 3) for b in blends]))

    assert away(found) < 0.15
    assert away(free) > 0.3


def test_two_features_that_any_blend_explains_stay_with_the_settings_blend(scores: Scores) -> None:
    few = replace(scores, features=scores.features[:2])
    blend, _ = _fit(few, _softmax(blended_scores(few, DEFAULT), 0.2))
    assert (blend.discrimination, blend.complexity) == (0.333333, 0.25)


def test_flat_shares_give_a_high_temperature_and_lone_ones_a_low_one(scores: Scores) -> None:
    assert _fit(scores, np.full(16, 1 / 16))[1] == pytest.approx(10, rel=1e-2)
    lone = np.eye(16)[int(np.argmax(blended_scores(scores, DEFAULT)))]
    assert _fit(scores, lone)[1] == pytest.approx(0.05, rel=1e-2)


def test_features_that_the_model_was_not_given_do_not_count(scores: Scores) -> None:
    heard = np.arange(16) < 14
    shares = np.where(heard, _softmax(blended_scores(scores, ALONE["relevance"]), 0.4), 0.0)
    blend, temperature = fit_blend(scores, shares / shares.sum(), heard, DEFAULT, spread=np.inf)
    assert (blend.relevance, temperature) == (1.0, pytest.approx(0.4, rel=1e-3))


def test_attention_of_a_blend_keeps_the_datas_scores_and_says_which_blend(toy: Any, scores: Scores) -> None:
    config = toy.config(attention__floor=0.0, attention__cap=1.0)
    shares = _softmax(blended_scores(scores, ALONE["discrimination"]), 0.5)
    blend, temperature = _fit(scores, shares, spread=np.inf)
    found = fit_blended(scores, blend, temperature, config, frugal=True)
    assert [w.weight for w in found.weights] == pytest.approx(shares, rel=1e-2)
    assert (found.scores, found.blend, found.temperature, found.frugal) == (scores, blend, temperature, True)
    assert all(0 < w.low <= w.weight <= w.high <= 1 for w in found.weights)
    assert type(found).from_json(found.to_json()) == found


def test_where_there_is_nothing_to_fit_there_is_no_candidate(toy: Any, scores: Scores) -> None:
    shares, config = np.full(16, 1 / 16), toy.config()
    for heard, fitted in ((np.arange(16) == 0, False), (np.arange(16) >= 14, False), (np.arange(16) >= 13, True)):
        usage = Usage(shares=tuple(shares.tolist()), heard=tuple(heard.tolist()))
        assert (fit_to_model(scores, usage, config) is not None) == fitted
