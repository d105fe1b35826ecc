"""What another domain's model is worth here: its attention as a prior, and its weights as a start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from abi.attention.simplex import balance, entropy
from abi.families.begin import begin
from abi.families.family import Model
from abi.families.transfer import Carried, Start, carry_over, matches, network_of
from abi.outcomes import Begun, Source, Trained, Transfer
from abi.training.choice import flattest, paired, trial_of
from abi.training.family import train
from abi.training.fitted import Fitted, rounded
from abi.training.pilots import PROCESSES, sample, shortened
from abi.types import Attention, Estimate, Inherited, Plan, Scores, Trial, Weight

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

SHARES: Final = (0.0, 0.5, 1.0)
"""How much of the prior is tried, from none on."""
NORMAL: Final = 1.96


def matched_features(scores: Scores, source: Source, model: Model) -> dict[str, str]:
    """Feature of the new table -> feature of the source's model."""
    network = network_of(model)
    there = (
        {}
        if network is None
        else {name: lexicon.terms for name, lexicon in network.blueprint.preparation.lexicons.items()}
    )
    here = {t.feature: t.terms for t in scores.terms}
    return matches(scores.problem.schema, source.trained.plan.attention.scores.problem.schema, here, there)


def prior_of(attention: Attention, source: Source, pairs: Mapping[str, str]) -> tuple[float, ...]:
    """The source's weights on matched features, which together keep the weight that they have here; others keep theirs."""
    theirs = source.trained.plan.attention.scores.problem.schema.features
    moved = dict(zip((f.name for f in theirs), source.trained.attention, strict=True))
    weights = {w.feature: w.weight for w in attention.weights}
    mass = sum(weights[name] for name in pairs)
    total = sum(moved[other] for other in pairs.values())
    prior = {name: mass * moved[other] / total if total > 0 else weights[name] for name, other in pairs.items()}
    return tuple(rounded(prior.get(w.feature, w.weight)) for w in attention.weights)


def with_prior(attention: Attention, inherited: Inherited) -> Attention:
    """A' ~ a^(1 - s) p^s, balanced as ever, for the network and for the trees; the same where s is 0."""
    share = inherited.share
    if not share:
        return replace(attention, inherited=inherited)
    prior = np.array(inherited.prior)
    weights = _blended(attention.weights, prior, share, attention)
    trees = attention.trees
    if trees is not None:
        trees = replace(trees, weights=_blended(trees.weights, prior, share, attention))
    return replace(
        attention,
        weights=weights,
        entropy=round(entropy(np.array([w.weight for w in weights])), 9),
        trees=trees,
        inherited=inherited,
    )


def _blended(
    weights: Sequence[Weight], prior: Float[np.ndarray, " features"], share: float, attention: Attention
) -> tuple[Weight, ...]:
    own = np.array([w.weight for w in weights])
    mixed = np.maximum(own, 1e-12) ** (1 - share) * np.maximum(prior, 1e-12) ** share
    found = balance(mixed / mixed.sum(), attention.floor, attention.cap)
    return tuple(
        replace(
            w,
            weight=round(float(new), 12),
            low=round(float(min(w.low, new)), 12),
            high=round(float(max(w.high, new)), 12),
        )
        for w, new in zip(weights, found, strict=True)
    )


def inherit(
    attention: Attention,
    source: Source,
    pairs: Mapping[str, str],
    plan: Callable[[Attention], Plan],
    rows: tuple[Columns, Columns],
    config: Config,
) -> Attention:
    """Attention with as much of the source's prior as validation rows favour.

    Each share is planned in full and trained for a short time on the same rows with the same seed; more of the prior is
    taken where its loss is lower by more than noise (`flattest`). Where one feature alone is matched there is nothing to
    choose.

    Args:
        attention: fitted to the scores.
        source: whose attention is the prior.
        pairs: matched features.
        plan: attention -> plan, under the envelope.
        rows: to train on and to decide by.
        config: caution and the length of a pilot.
    """
    base = Inherited(
        source=source.uri,
        matched=tuple(pairs),
        prior=prior_of(attention, source, pairs),
        shares=SHARES,
        trials=(),
        share=0.0,
    )
    if len(pairs) <= 1:
        return with_prior(attention, replace(base, shares=(0.0,)))
    train_columns, trials, losses = sample(rows[0], config), list[Trial](), list[Float[np.ndarray, " rows"]]()
    for share in SHARES:
        candidate = with_prior(attention, replace(base, share=share))
        pilot = shortened(plan(candidate), len(train_columns), config.iterate.pilot)
        fitted = train(pilot, train_columns, rows[1], config, seed=config.seed, processes=PROCESSES)
        preferred = losses[flattest(trials, config.attention.caution)] if trials else None
        trials.append(trial_of(candidate, fitted.trained.loss, fitted.trained.metric, fitted.row_losses, preferred))
        losses.append(fitted.row_losses)
    return with_prior(attention, chosen_share(replace(base, trials=tuple(trials)), config.attention.caution))


def chosen_share(inherited: Inherited, caution: float) -> Inherited:
    """The share that its trials decide for; it needs no training."""
    trials = inherited.trials
    return replace(inherited, share=inherited.shares[flattest(trials, caution)] if trials else 0.0)


def start_of(model: Model, pairs: Mapping[str, str]) -> Start | None:
    """Where a network begins; None where the source has none."""
    network = network_of(model)
    return None if network is None else Start(network, pairs)


def better(
    cold: Fitted[Model], warm: Fitted[Model], carried: Carried, source: Source
) -> tuple[Fitted[Model], Transfer]:
    """The one with less loss on validation rows, and both beside each other."""
    gain, error = paired(cold.row_losses, warm.row_losses)
    reach = NORMAL * (error or 0.0)
    transfer = Transfer(
        source=source.uri,
        artifact=source.trained.artifact,
        features=carried.features,
        terms=carried.terms,
        layers=carried.layers,
        outputs=carried.outputs,
        parameters=carried.parameters,
        cold=_begun(cold.trained),
        warm=_begun(warm.trained),
        gain=Estimate(value=rounded(gain), low=rounded(gain - reach), high=rounded(gain + reach)),
        kept="warm" if gain > 0 else "cold",
    )
    return (warm if gain > 0 else cold), transfer


def prior_alone(cold: Fitted[Model], source: Source, obstacle: str) -> Transfer:
    """What there is to say where no weights could be carried over."""
    begun = _begun(cold.trained)
    return Transfer(
        source=source.uri,
        artifact=source.trained.artifact,
        features=(),
        terms=0,
        layers=0,
        outputs=0,
        parameters=0,
        cold=begun,
        warm=begun,
        gain=Estimate(value=0.0, low=0.0, high=0.0),
        kept="cold",
        obstacle=obstacle,
    )


def _begun(trained: Trained) -> Begun:
    return Begun(artifact=trained.artifact, loss=trained.loss, metric=trained.metric)


def carried(start: Start, plan: Plan, train_columns: Columns) -> Carried:
    """What a start brings to the network of a plan; the network itself is built anew for its training."""
    blueprint, network, _ = begin(plan, train_columns)
    return carry_over(start, network, blueprint.schema)
