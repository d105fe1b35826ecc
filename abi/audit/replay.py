"""Replay: each recorded decision of a run is made again from its recorded inputs, and must come out byte for byte.

A decision is a value. It is computed by the function that the run used, from what the run recorded, and the canonical bytes
of both are held against each other. No model is trained: what trainings showed is part of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from abi.audit.difference import first_difference
from abi.audit.record import RunRecord
from abi.config import Config
from abi.data.derive import open_problem
from abi.data.encoder_folder import is_whole
from abi.data.infer import pose
from abi.data.table import Tabular
from abi.errors import AbiError, AuditBroken, clip
from abi.inputs.pretrained import Encoders
from abi.outcomes import Convergence, Move, Trained
from abi.planning.even import even_plans
from abi.planning.planner import Planner
from abi.problem import Problem, with_tuned
from abi.scoring.score import score
from abi.training.choice import asked_blend, keep_again, pick_control, with_obstacle
from abi.training.revise import control_attention, move_again, own_plan, tried_lean
from abi.training.rounds import best_round, converge, decide
from abi.training.transfer import chosen_share, with_prior
from abi.training.trees_pilots import fit_again
from abi.types import Attention, Plan, Trial
from abi.values import Value

Tables = Callable[[], tuple[Tabular, Tabular | None]]
"""Opens the snapshot's tables; raises an `AbiError` where they are not there any more."""
Encoding = Callable[[Config], Encoders | None]
"""The encoders that a run's settings name and that were tuned for it, as far as they are there."""


class NotReplayed(Exception):
    """A decision whose inputs are not there; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Decision(Value):
    """One decision and its replay.

    Attributes:
        name: which one.
        recorded: id of what was recorded.
        recomputed: id of what came out; None where it was not replayed.
        difference: the first field that differs, empty where none does.
        why: why it was not replayed.
    """

    name: str
    recorded: str
    recomputed: str | None
    difference: str = ""
    why: str = ""

    @property
    def same(self) -> bool:
        """Whether it came out byte for byte."""
        return self.recomputed == self.recorded and not self.difference


Step = tuple[str, Value, Callable[[], Value]]


def replay(run: RunRecord, tables: Tables, encoding: Encoding | None = None) -> list[Decision]:
    """Every decision of a run, in its order; what pretrained encoders say of the rows is asked of `encoding`."""
    return [_compare(*step) for step in (*_of_data(run, tables, encoding), *_of_run(run))]


def verdict(decisions: Sequence[Decision]) -> None:
    """Nothing where all that were replayed came out the same.

    Raises:
        AuditBroken: names the first that did not.
    """
    broken = next((d for d in decisions if d.recomputed is not None and not d.same), None)
    if broken is not None:
        msg = f"Expected decision {broken.name!r} to come out as recorded ({broken.recorded[:12]}), got {(broken.recomputed or '')[:12]} ({broken.difference}): the record was changed, or the code that decided is another."
        raise AuditBroken(msg)


def _compare(name: str, recorded: Value, make: Callable[[], Value]) -> Decision:
    try:
        made = make()
    except NotReplayed as gone:
        return Decision(name=name, recorded=recorded.id, recomputed=None, why=str(gone))
    except AbiError as error:  # what was recorded cannot have come of this
        return Decision(name=name, recorded=recorded.id, recomputed="", difference=str(error))
    if made.canonical() == recorded.canonical():
        return Decision(name=name, recorded=recorded.id, recomputed=made.id)
    found = first_difference(recorded.to_json(), made.to_json()) or "another kind of value"
    return Decision(name=name, recorded=recorded.id, recomputed=made.id, difference=found)


def _of_data(run: RunRecord, tables: Tables, encoding: Encoding | None) -> Iterator[Step]:
    """What was decided on the data itself: needs the snapshot."""

    def opened() -> tuple[Tabular, Tabular | None]:
        try:
            return tables()
        except AbiError as error:
            msg = f"the snapshot is not there: {error}"
            raise NotReplayed(msg) from None

    def schema() -> Problem:
        train, test = opened()
        config = _planner(run).config
        for column, encoder in config.data.encoders.items():
            if not is_whole(encoder.path.expanduser()):
                msg = f"the pretrained encoder of {clip(column)!r} is not in {encoder.path}"
                raise NotReplayed(msg)
        posed = pose(run.snapshot, run.problem.schema.target, config, train, test)
        return with_tuned(posed, run.checks.tuned)

    def vectors(config: Config) -> Encoders | None:
        found = None if encoding is None else encoding(config)
        for feature in run.problem.schema.features:
            if feature.encoder is not None and (found is None or feature.encoder.sha256 not in found.folders):
                msg = f"the encoder {feature.encoder.sha256[:12]} of {clip(feature.name)!r} is not there"
                raise NotReplayed(msg)
        return found

    def scores() -> Value:
        train, test = opened()
        config = _planner(run).config
        reader = replace(open_problem(run.problem, train, test), vectors=vectors(config))
        # before features were tested beside one another, none has a p-value of that
        together = any(f.beside is not None for f in run.scores.features)
        return score(reader, config.scoring, tail=config.attention.tail > 0, together=together)

    yield "schema", run.problem, schema
    yield "scores", run.scores, scores


def _of_run(run: RunRecord) -> Iterator[Step]:
    """What was decided on recorded values alone."""
    yield "attention", run.rounds[0].plan.attention, lambda: _attention(run)
    for i, trained in enumerate(run.rounds):
        yield f"plan {i + 1}", trained.plan, lambda i=i: _plan(run, i)  # type: ignore[misc]  # bound now
        if trained.choice is not None:
            yield f"family {i + 1}", trained, lambda t=trained: _family(t)  # type: ignore[misc]
        yield f"move {i + 1}", run.moves[i], lambda i=i: _move(run, i)  # type: ignore[misc]
    yield "best round", run.evaluation.trained.judged, lambda: run.rounds[best_round(run.rounds)]
    yield "control", run.control, lambda: _control(run)


def _planner(run: RunRecord) -> Planner:
    if run.conditions is None:
        msg = "the run was recorded without its settings, machine and numbers of rows"
        raise NotReplayed(msg)
    return Planner.of(run.conditions)


def compared(attention: Attention) -> bool:
    """Whether it was recorded what its trials were compared by."""
    own = attention.trees
    judged: list[tuple[Trial, ...]] = [attention.trials]
    if own is not None:
        judged += [own.trials, own.treatments]
    return all(trial.gain is not None for trials in judged for trial in trials[1:])


def _attention(run: RunRecord) -> Attention:
    recorded, planner = run.rounds[0].plan.attention, _planner(run)
    if not compared(recorded):
        msg = "the run was recorded without what its trials were compared by"
        raise NotReplayed(msg)
    found = fit_again(run.scores, recorded, planner.config, planner.divide)
    if recorded.inherited is None:
        return found
    return with_prior(found, chosen_share(recorded.inherited, planner.config.attention.caution))


def _plan(run: RunRecord, index: int) -> Plan:
    """Each round divides the envelope by the attention before it."""
    planner = _planner(run)
    if index == 0:
        return planner.divide(run.rounds[0].plan.attention)
    before = run.moves[index - 1]
    return planner.divide(before.attention, before.trained.family)


def _family(trained: Trained) -> Trained:
    choice = trained.choice
    assert choice is not None
    names = [c.family for c in choice.candidates]
    if trained.plan.family == "blend" and "blend" in names:
        place, reason = names.index("blend"), asked_blend(choice.weight)
    else:
        found = keep_again(choice.candidates)
        if found is None:
            msg = "the run was recorded without what its families were compared by"
            raise NotReplayed(msg)
        place, reason = found
    choice = replace(choice, reason=with_obstacle(reason, choice.obstacle))
    return replace(trained, family=names[place], choice=choice)


def _move(run: RunRecord, index: int) -> Move:
    recorded, planner = run.moves[index], _planner(run)
    last = recorded.trained
    moved = move_again(last.plan.attention, recorded.attention, last.family, planner.config)
    if moved is None:
        msg = "the run was recorded without the shares that its model showed"
        raise NotReplayed(msg)
    following = planner.divide(moved, last.family)
    continues, reason = decide(run.rounds[: index + 1], following, planner.config)
    found: Convergence = converge(moved, last.plan, following, planner.config)
    return Move(trained=last, attention=moved, continues=continues, reason=reason, convergence=found)


def _control(run: RunRecord) -> Trained:
    recorded, planner, last = run.control, _planner(run), run.moves[-1]
    if recorded.tried is None:
        msg = "the run was recorded without the losses of its control's trainings"
        raise NotReplayed(msg)
    config = planner.config
    twin = control_attention(last, config.attention)
    plans = even_plans(
        lambda even, limits, asked: planner.divide(
            even, last.trained.family, allocation="even", envelope=limits, config=asked
        ),
        twin,
        config,
        lean=tried_lean(last.attention),
    )
    if not recorded.tried.pilots and (same := own_plan(run.rounds[run.kept], plans, config.seed)) is not None:
        return replace(recorded, plan=same, seed=config.seed)
    place, seed = pick_control(recorded.tried.pilots, len(plans), config.seed)
    losses = recorded.tried.trainings
    return replace(recorded, plan=plans[place], seed=seed + losses.index(min(losses)))
