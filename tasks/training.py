"""Stages: train a plan; train the uniform control."""

from __future__ import annotations

from dataclasses import dataclass, replace

from abi.data.derive import final_history, stored
from abi.documents import find
from abi.families.artifact import Model as NetworkModel
from abi.families.family import Model
from abi.families.stored import HISTORY
from abi.families.transfer import Start
from abi.outcomes import Move, Trained, Tried
from abi.planning.asked import expect_here
from abi.planning.on_devices import on_devices
from abi.problem import Problem
from abi.report.wording import alignment_sentence, refit_sentence
from abi.training.family import train as train_plan
from abi.training.fitted import Fitted
from abi.training.latency import with_encoders
from abi.training.pilots import choose_control
from abi.training.refit import refit as train_again
from abi.training.revise import control_attention, own_plan, trial_count, tried_lean
from abi.training.rounds import best_round
from abi.training.transfer import better, carried, prior_alone, start_of
from abi.types import Plan
from abi.units import show_seconds
from tasks.data import load_rows, open_reader
from tasks.models import has_files, keep_model, load_model
from tasks.planning import even_plans
from tasks.progress import say, watching
from tasks.stage import Call, Stage
from tasks.transfer import pairs_of, read_source
from tasks.vectors import bare_encoders, refers_as_asked
from tasks.workspace import Workspace


@dataclass(frozen=True)
class FileCheckpoints:
    """One training's checkpoint, a file in the workspace."""

    ws: Workspace
    name: str

    def load(self) -> bytes | None:
        """The last one, or None."""
        path = self.ws.checkpoints / self.name
        return path.read_bytes() if path.is_file() else None

    def save(self, data: bytes) -> None:
        """Replace it, atomically."""
        self.ws.write(self.ws.checkpoints / self.name, data)

    def clear(self) -> None:
        """Remove it."""
        (self.ws.checkpoints / self.name).unlink(missing_ok=True)


def run_training(
    call: Call, plan: Plan, seed: int, title: str, *, profile: bool = False, start: Start | None = None
) -> Fitted[Model]:
    """Train and keep the model, signed; goes on from a checkpoint where a run was killed.

    With `profile`, also find out where memory and time of a step go. `start` is another model that a network begins from.
    """
    planned = on_devices(plan)
    expect_here(None if planned is None else planned.cluster, call.settings.devices)
    problem = plan.attention.scores.problem
    warm = "" if start is None else f"-{start.model.artifact[:16]}"
    checkpoints = FileCheckpoints(
        call.ws, f"{call.settings.digest('training')[:16]}-{plan.id}-{seed}{warm}.safetensors"
    )
    folder = call.ws.runs / "tensorboard" / plan.id[:16] / str(seed)
    with watching(title, plan, folder) as curves:
        fitted = train_plan(
            plan,
            load_rows(call, problem, "train"),
            load_rows(call, problem, "validation"),
            call.settings,
            seed=seed,
            watcher=curves,
            checkpoints=checkpoints,
            profile=profile,
            start=start,
        )
    if isinstance(fitted.model, NetworkModel):
        fitted = with_encoders(fitted, bare_encoders(call.ws, call.settings), load_rows(call, problem, "validation"))  # type: ignore[arg-type]  # a network
    _keep(call, fitted.model, problem)
    checkpoints.clear()
    return fitted


def _keep(call: Call, model: Model, problem: Problem) -> None:
    known = final_history(problem, stored(open_reader(call, problem).train))
    keep_model(call, model, model.artifact, {} if known is None else {HISTORY: known.canonical()})


def train(call: Call, plan: str, source: str = "") -> str:
    """Plan -> Trained; with a Source, the better of a training from it and one from nothing."""
    made = find(call.ws.get(plan), Plan)
    number = made.attention.round + 1
    seed = call.settings.seed + made.attention.round
    fitted = run_training(call, made, seed, f"training round {number}", profile=True)
    trained = _transferred(call, made, seed, number, fitted, source) if source else fitted.trained
    length = (
        f"{trained.best_epoch} rounds of boosting" if trained.family == "trees" else f"{len(trained.history)} epochs"
    )
    say(
        f"train     round {number}: validation loss {trained.loss:.4f} after {length}, {show_seconds(trained.measured.train_time_s)}"
    )
    if aligned := alignment_sentence(trained):
        say(f"align     {aligned}")
    if trained.choice is not None:
        say(f"choose    {trained.family}: {trained.choice.reason}")
    return call.ws.put(trained)


def _transferred(call: Call, plan: Plan, seed: int, number: int, cold: Fitted[Model], source: str) -> Trained:
    """The same plan once more from the source's model; the better one on validation rows, with both beside each other."""
    value, model = read_source(call, source)
    start = start_of(model, pairs_of(plan.attention.scores, value, model))
    if start is None or plan.family == "trees":
        obstacle = (
            "trees have no weights to carry over"
            if plan.family == "trees"
            else "it has no network whose weights could be carried over"
        )
        return replace(cold.trained, transfer=prior_alone(cold, value, obstacle))
    warm = run_training(call, plan, seed, f"training round {number} from {value.uri}", profile=True, start=start)
    brought = carried(start, plan, load_rows(call, plan.attention.scores.problem, "train"))
    kept, transfer = better(cold, warm, brought, value)
    gain = transfer.gain
    say(
        f"transfer  {value.uri}: validation loss {transfer.warm.loss:.4f} in place of {transfer.cold.loss:.4f} (gain by row {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]), {transfer.kept} start kept"
    )
    return replace(kept.trained, transfer=transfer)


def train_control(call: Call, *moves: str) -> str:
    """Moves of all rounds -> Trained: the even split of the same family, best of as many trainings by validation loss.

    The rounds' pilots and trainings are matched one by one: pilots choose the control's members and first seed, and each
    training after that takes the next one. Where the round that is kept is the even split there is nothing to train again.
    """
    known = [find(call.ws.get(one), Move) for one in moves]
    move, trained = known[-1], [one.trained for one in known]
    kept = trained[best_round(trained)]
    config, problem = call.settings, kept.plan.attention.scores.problem
    plans = even_plans(call, control_attention(move, config.attention), kept.family, lean=tried_lean(move.attention))
    if (same := own_plan(kept, plans, config.seed)) is not None:
        own = replace(kept, plan=same, profile=None, tried=Tried(pilots=(), trainings=(kept.loss,)))
        say(f"control   the model is the even split itself: validation loss {own.loss:.4f}")
        return call.ws.put(own)
    pilots = choose_control(
        plans,
        config,
        trials=trial_count(move.attention),
        train_columns=load_rows(call, problem, "train"),
        validation_columns=load_rows(call, problem, "validation"),
    )
    # a round that began from another model was trained from nothing as well
    twice = sum(t.transfer is not None and not t.transfer.obstacle for t in trained)
    rounds = move.attention.round + twice
    tried = [
        run_training(call, pilots.plan, pilots.seed + i, f"training control {i + 1}").trained for i in range(rounds)
    ]
    best = min(tried, key=lambda t: t.loss)
    best = replace(best, tried=Tried(pilots=pilots.losses, trainings=tuple(t.loss for t in tried)))
    say(f"control   even split: validation loss {best.loss:.4f}, best of {rounds}")
    return call.ws.put(best)


def refit(call: Call, source: str, *trained: str) -> str:
    """Source (or "") and trained rounds -> the best one, trained once more on the rows of training and validation together."""
    rounds = [find(call.ws.get(one), Trained) for one in trained]
    best = rounds[best_round(rounds)]
    start = None
    if best.transfer is not None and best.transfer.kept == "warm":
        value, model = read_source(call, source)
        start = start_of(model, pairs_of(best.plan.attention.scores, value, model))
    return call.ws.put(_again(call, best, "refit", start))


def refit_control(call: Call, control: str, kept: str) -> str:
    """Trained control and refitted model -> the control trained once more as well; once is enough where both are the same."""
    even, own = (find(call.ws.get(one), Trained) for one in (control, kept))
    assert own.refit is not None
    if even.artifact == own.refit.judged:
        return call.ws.put(replace(even, artifact=own.artifact, attention=own.attention, refit=own.refit))
    return call.ws.put(_again(call, even, "refit control"))


def _again(call: Call, trained: Trained, title: str, start: Start | None = None) -> Trained:
    problem, model = trained.plan.attention.scores.problem, load_model(call, trained.artifact)
    checkpoints = FileCheckpoints(call.ws, f"refit-{trained.id}.safetensors")
    folder = call.ws.runs / "tensorboard" / trained.plan.id[:16] / f"{trained.seed}-refit"
    with watching(title, trained.plan, folder) as curves:
        taught = load_rows(call, problem, "taught")
        model, found = train_again(
            model, trained, taught, call.settings, watcher=curves, checkpoints=checkpoints, start=start
        )
    _keep(call, model, problem)
    checkpoints.clear()
    assert found.refit is not None
    say(f"{title:9} {refit_sentence(found.family, found.refit)}")
    return found


def has_model(call: Call, value_id: str) -> bool:
    """Whether the value and its model's files are still there, with its encoders where the settings name them now."""
    ws = call.ws
    if not ws.has(value_id):
        return False
    trained = find(ws.get(value_id), Trained)
    schema = trained.plan.attention.scores.problem.schema
    return has_files(ws, trained.artifact) and refers_as_asked(ws, call.settings, schema, ws.models / trained.artifact)


_READ = ("training", "attention", "evaluation.metric", "seed")
TRAIN = Stage(train, sections=_READ, kept=has_model)
REFIT = Stage(refit, sections=_READ, kept=has_model)
REFIT_CONTROL = Stage(refit_control, sections=_READ, kept=has_model)
TRAIN_CONTROL = Stage(train_control, sections=(*_READ, "envelope", "devices", "iterate"), kept=has_model)
