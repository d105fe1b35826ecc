"""Stages of a run that starts from another domain's model: take it over, and let its attention be a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.documents import find
from abi.errors import UsageError, listed
from abi.families.family import Model
from abi.outcomes import Source
from abi.training.transfer import inherit as inherit_prior
from abi.training.transfer import matched_features
from abi.types import Attention, Scores
from tasks.data import load_rows
from tasks.models import keep_model, load_model
from tasks.planning import divide
from tasks.progress import say
from tasks.registered import read_registered
from tasks.stage import Call, Stage

if TYPE_CHECKING:
    from abi.problem import Problem


def adopt(call: Call, reference: str) -> str:
    """A registered model, verified -> Source, with its weights in this workspace.

    Raises:
        UsageError: there is no such model or version.
        ArtifactRefused: its files are not what was signed; none of them was read then.
    """
    source = _taken_over(call, reference)
    value, model = read_source(call, source)
    say(f"from      {value.uri}, which predicts {model.schema.target!r}")
    return source


def _taken_over(call: Call, reference: str) -> str:
    found = read_registered(call, reference)
    trained = found.evaluation.trained
    keep_model(call, found.model, trained.artifact, found.beside, adopted=True)
    return call.ws.put(Source(uri=found.recorded.uri, trained=trained))


def read_source(call: Call, source: str) -> tuple[Source, Model]:
    """The value with its model, verified again."""
    value = call.ws.get(source)
    assert isinstance(value, Source)
    return value, load_model(call, value.trained.artifact)


def expect_overlap(call: Call, problem: Problem, reference: str) -> None:
    """See that the model is there, whole, and has something in common with the table, before anything is trained.

    Texts may be matched by their terms, which are not counted yet, so one text on each side will do.

    Raises:
        UsageError: it is not there, or has not.
        ArtifactRefused: its files are not what was signed.
    """
    value, model = read_source(call, _taken_over(call, reference))
    kinds = {(f.name, f.kind) for f in model.schema.features}
    texts = [{f.name for f in s.features if f.kind == "text"} for s in (problem.schema, model.schema)]
    if not kinds & {(f.name, f.kind) for f in problem.schema.features} and not all(texts):
        raise _nothing_shared(value)


def pairs_of(scores: Scores, source: Source, model: Model) -> dict[str, str]:
    """Matched features.

    Raises:
        UsageError: there is none.
    """
    pairs = matched_features(scores, source, model)
    if not pairs:
        raise _nothing_shared(source)
    return pairs


def _nothing_shared(source: Source) -> UsageError:
    names = listed([f.name for f in source.trained.plan.attention.scores.problem.schema.features])
    msg = f"Expected a model that shares a feature of this table by name and kind, or the terms of a text, got {source.uri} with {names}: rename the columns alike, or train without --from."
    return UsageError(msg)


def inherit(call: Call, attention: str, source: str) -> str:
    """Attention and Source -> Attention with as much of the source's as validation rows favour."""
    own = find(call.ws.get(attention), Attention)
    value, model = read_source(call, source)
    pairs = pairs_of(own.scores, value, model)
    family = "trees" if call.settings.training.family == "trees" else "network"
    found = inherit_prior(
        own,
        value,
        pairs,
        lambda candidate: divide(call, candidate, family=family),  # type: ignore[arg-type]  # one of two
        (load_rows(call, own.scores.problem, "train"), load_rows(call, own.scores.problem, "validation")),
        call.settings,
    )
    assert found.inherited is not None
    say(
        f"inherit   {len(pairs)} of {len(own.weights)} features matched, {found.inherited.share:.0%} of their attention taken over"
    )
    return call.ws.put(found)


ADOPT = Stage(adopt, cached=False)
INHERIT = Stage(
    inherit, sections=("attention", "training", "envelope", "devices", "iterate", "evaluation.metric", "seed")
)
