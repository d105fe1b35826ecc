"""What a stream ends with: its learner as a model of its own, and what that was worth along the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64

from abi.adapting.derived import Target, change_name, of_labels
from abi.adapting.experts import stay_share
from abi.adapting.labels import Arrivals
from abi.adapting.learner import CHAMPION, PERSISTENCE
from abi.adapting.plans import together
from abi.adapting.prequential import again, losses, usual
from abi.adapting.run import ADAPTED, NEVER
from abi.data import text as spelled
from abi.data.columns import encode
from abi.evaluation.bootstrap import block_rows, estimate, gain, resamples
from abi.families.mixture import Mixture, MixtureBlueprint
from abi.families.onward import Going, Onward
from abi.monitoring.reference import refer
from abi.outcomes import Along, Evaluation, Gain, Signal, Trained
from abi.problem import Feature, Problem, Schema, Snapshot, Split, Task

if TYPE_CHECKING:
    from abi.adapting.learner import Own
    from abi.adapting.run import Run
    from abi.adapting.stream import Stream
    from abi.config import Config
    from abi.families.family import Model
    from abi.metrics import Draws
    from abi.monitored import Reference
    from abi.types import Attention, Plan

TABULAR: Final = ("numeric", "categorical", "boolean", "text", "sequence")
"""Kinds of features that a champion's part can be given from the stream's own columns."""
UNHEARD: Final = 1e-6
"""A champion with a smaller share is left out: else each model that followed a stream would hold all before it."""
Losses = Float64[np.ndarray, " scored"]


@dataclass(frozen=True)
class Ended:
    """The model, the value of its figures, and what new rows are held against."""

    model: Mixture
    evaluation: Evaluation
    reference: Reference


def obstacle(run: Run) -> str:
    """Why what learned along the stream cannot be kept as a model; "" where it can."""
    own, champion = run.learner.own, run.learner.champion
    assert own is not None
    if not any(f.column not in run.stream.kinds for f in own.view.schema.features):
        return "none of the stream's own columns is read"
    strange = [f.name for f in champion.schema.features if f.kind not in TABULAR] if champion is not None else []
    if strange:
        return f"the champion reads {strange[0]!r}, which cannot be stored as a part"
    return ""


def end(run: Run, snapshot: Snapshot, champion: int | None) -> Ended:
    """The learner as it stands, of a run that was finished.

    Args:
        run: all of whose rows were predicted, and learned from.
        snapshot: of the stream.
        champion: the version that it began with.
    """
    own, stream, config = run.learner.own, run.stream, run.config
    assert own is not None
    model = mixture(run)
    problem = Problem(snapshot=snapshot, schema=model.schema, split=Split(seed=config.seed, validation=0.0, test=0.0))
    rows = own.view.taught(own.watch.rows)
    planning = run.learner.planning
    attention = planning.attend(planning.scores(stream, rows, model.schema), own.attention.temperature)
    attention = replace(attention, scores=replace(attention.scores, problem=problem))
    trained = _trained(run, own, model, attention)
    columns = encode(stream.table, model.schema, with_target=False).take(rows)
    none = np.zeros((0, len(model.schema.classes)) if model.schema.classes else (0,))
    reference = refer(problem, columns, none, attention, model.artifact, config)
    return Ended(model, _evaluation(run, trained, champion), reference)


def mixture(run: Run) -> Mixture:
    """The experts with their shares, and what is remembered of the stream."""
    learner, stream = run.learner, run.stream
    own, champion = learner.own, learner.champion
    assert own is not None
    held: dict[str, Model | None] = {
        "network": own.network.model if own.network else None,
        "trees": own.trees,
        "change": own.change,
    }
    parts: dict[str, Model] = {name: model for name in own.plans if (model := held[name]) is not None}
    weights = {name: float(w) for name, w in zip(learner.names, run.blend.weights, strict=True)}
    if champion is not None and weights[CHAMPION] >= UNHEARD:
        kept: Model = champion.model  # type: ignore[assignment]  # a model
        if isinstance(kept, Mixture):
            kept = kept.after(champion.columns.take(np.arange(champion.first, stream.rows)))
        parts = {CHAMPION: kept, **parts}
    schema, named = _schema(stream, own, None if champion is None else champion.schema, heard=CHAMPION in parts)
    heard = {name: weight for name, weight in weights.items() if name in parts or name == PERSISTENCE}
    place = {name: i for i, name in enumerate(schema.classes)}
    arrived = stream.codes[stream.latest(stream.rows, run.config.adapt.history)]
    last = None if not len(arrived) else float(arrived[-1] if stream.numeric else place[stream.classes[arrived[-1]]])
    return Mixture(
        MixtureBlueprint(
            family="mixture",
            schema=schema,
            shares={name: weight / sum(heard.values()) for name, weight in heard.items()},
            parts={name: part.artifact for name, part in parts.items()},
            last=last,
            stay=1.0 if stream.numeric else float(stay_share(arrived)),
            known=tuple(sorted(place[stream.classes[i]] for i in learner.known())),
            seen=tuple(sorted(place[name] for name in stream.classes)),
            features={name: named[CHAMPION if name == CHAMPION else "own"] for name in parts},
            onward=_onward(run, schema),
        ),
        parts,
    )  # fmt: skip


def _schema(
    stream: Stream, own: Own, champion: Schema | None, *, heard: bool
) -> tuple[Schema, dict[str, tuple[str, ...]]]:
    """The stream's own columns as all parts need them; of each part its features' names there, "" where one is derived.

    A champion that is not `heard` gives its classes alone.
    """
    features = [f for f in own.view.schema.features if f.column not in stream.kinds]
    taken = {_read(f): f.name for f in features}

    def name_of(feature: Feature, whose: str) -> str:
        found = taken.get(_read(feature))
        if found is None:
            found = feature.name
            while found in taken.values():
                found = f"{found} ({whose})"
            features.append(replace(feature, name=found))
            taken[_read(feature)] = found
        return found

    for feature in stream.changing:
        name_of(feature, "change")
    named = {"own": tuple("" if f.column in stream.kinds else taken[_read(f)] for f in own.view.schema.features)}
    classes = list(own.view.schema.classes)
    if champion is not None and heard:
        named[CHAMPION] = tuple(name_of(f, CHAMPION) for f in champion.features)
    if champion is not None:
        classes += [name for name in champion.classes if name not in classes]
    classes += [name for name in stream.classes if name not in classes]
    task: Task = "regression" if stream.numeric else "binary" if len(classes) == 2 else "multiclass"  # noqa: PLR2004
    return replace(own.view.schema, features=tuple(features), classes=tuple(classes), task=task), named


def _read(feature: Feature) -> tuple[object, ...]:
    """Two features that agree in this are the same array."""
    return feature.column, feature.kind == "numeric", feature.part, feature.mention, feature.place


def _onward(run: Run, schema: Schema) -> Onward:
    """The derived columns of the row after the last one."""
    stream, asked = run.stream, run.config.adapt
    past = Arrivals(stream.arrivals.rows, np.array([len(stream.arrivals.rows)], np.int64))
    texts, numbers = dict[str, str | None](), dict[str, float | None]()
    for name, values in of_labels(Target(stream.target, stream.labels, past, stream.numeric), stream.told, asked):
        free = stream.names[name]
        if stream.kinds[free] == "categorical":
            texts[free] = spelled.labels(values).to_pylist()[0]
        else:
            numbers[free] = spelled.numbers(values).to_pylist()[0]
    own = {_read(f): f.name for f in schema.features}
    going = tuple(
        Going(name=stream.names[change_name(f.name, half)], feature=own[_read(f)], half=half)
        for f in stream.changing
        for half in asked.halves
    )
    before = Onward(texts=texts, numbers=numbers, going=going)
    numeric = replace(schema, features=stream.changing)
    columns = encode(stream.table, numeric, with_target=False).numeric
    place = {own[_read(f)]: i for i, f in enumerate(stream.changing)}
    return before.after(columns[:, [place[g.feature] for g in going]])


def _trained(run: Run, own: Own, model: Mixture, attention: Attention) -> Trained:
    """All experts as one; memory is what their plans say, since it is not measured along a stream."""
    champion = run.learner.champion
    predicted = together(own.plans, champion.cost if champion is not None and CHAMPION in model.parts else None)
    leading: Plan = next(iter(own.plans.values()))
    plan = replace(
        leading, attention=attention, envelope=run.config.envelope.limits(), predicted=predicted, parts=None,
        reasons=(f"the experts {', '.join(own.plans)} under their own plans, mixed by recent loss",),
    )  # fmt: skip
    lost = losses(run.stream, run.trail.says[ADAPTED])[run.begin :]
    return Trained(
        plan=plan,
        seed=run.config.seed,
        artifact=model.artifact,
        best_epoch=0,
        stopped="finished",
        loss=float(np.nanmean(lost)),
        metric=None,
        measured=replace(predicted, parameters=model.parameters),
        attention=tuple(w.weight for w in attention.weights),
        history=(),
        family="mixture",
    )


def _evaluation(run: Run, trained: Trained, champion: int | None) -> Evaluation:
    """Prequential figures with intervals by the circular block bootstrap, all on the same resamples."""
    stream = run.stream
    said = {
        ADAPTED: run.trail.says[ADAPTED],
        NEVER: run.trail.says[NEVER],
        PERSISTENCE: again(stream),
        "chance": usual(stream),
    }
    lost = {name: losses(stream, one)[run.begin :] for name, one in said.items()}
    there = ~np.isnan(lost[ADAPTED])
    metric = "rmse" if stream.numeric else "accuracy"
    scored = {name: one[there] for name, one in lost.items()}
    values = {name: float(_figure(one.mean(), numeric=stream.numeric)) for name, one in scored.items()}
    draws = _draws(scored, run.config, numeric=stream.numeric)

    def over(other: str) -> Gain:
        return gain(metric, values[ADAPTED], values[other], draws[ADAPTED], draws[other])

    return Evaluation(
        trained=trained,
        rows=int(there.sum()),
        primary=metric,
        metrics={metric: estimate(values[ADAPTED], draws[ADAPTED])},
        controls=(),
        slices=(),
        calibration=None,
        latency_s=trained.predicted.latency_s,
        trials=1,
        signal=Signal(chance=values["chance"], gain=over("chance")),
        along=Along(
            champion=champion,
            begin=run.begin,
            adaptations=len(run.trail.adaptations),
            gain=over(NEVER),
            baseline=over(PERSISTENCE),
        ),
    )


def _figure(mean: Losses | float, *, numeric: bool) -> Losses | float:
    """Accuracy, or root mean squared error, of mean losses."""
    return np.sqrt(mean) if numeric else 1 - mean


def _draws(scored: dict[str, Losses], config: Config, *, numeric: bool) -> dict[str, Draws]:
    rows = len(scored[ADAPTED])
    parts: dict[str, list[Draws]] = {name: [] for name in scored}
    for counts in resamples(rows, config.evaluation.resamples, config.seed, block_rows(rows)):
        for name, lost in scored.items():
            parts[name].append(np.asarray(_figure(counts @ lost / rows, numeric=numeric)))
    return {name: np.concatenate(found) for name, found in parts.items()}
