"""Stages: train a plan; train the uniform control."""

from __future__ import annotations

from dataclasses import dataclass, replace

from abi.attention.fit import fit
from abi.documents import find
from abi.families.family import Model
from abi.outcomes import Move, Trained, Tried
from abi.planning.asked import expect_here
from abi.planning.on_devices import on_devices
from abi.training.family import train as train_plan
from abi.training.fitted import Fitted
from abi.training.pilots import choose_control
from abi.training.revise import even_twin, trial_count
from abi.types import Plan
from abi.units import show_seconds
from tasks.data import load_rows
from tasks.models import has_files, keep_model
from tasks.planning import even_plans
from tasks.progress import say, watching
from tasks.stage import Call, Stage
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


def run_training(call: Call, plan: Plan, seed: int, title: str, *, profile: bool = False) -> Fitted[Model]:
    """Train and keep the model, signed; goes on from a checkpoint where a run was killed.

    With `profile`, also find out where memory and time of a step go.
    """
    planned = on_devices(plan)
    expect_here(None if planned is None else planned.cluster, call.settings.devices)
    problem = plan.attention.scores.problem
    checkpoints = FileCheckpoints(call.ws, f"{call.settings.digest('training')[:16]}-{plan.id}-{seed}.safetensors")
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
        )
    keep_model(call, fitted.model, fitted.trained.artifact)
    checkpoints.clear()
    return fitted


def train(call: Call, plan: str) -> str:
    """Plan -> Trained."""
    made = find(call.ws.get(plan), Plan)
    number = made.attention.round + 1
    seed = call.settings.seed + made.attention.round
    trained = run_training(call, made, seed, f"training round {number}", profile=True).trained
    length = (
        f"{trained.best_epoch} rounds of boosting" if trained.family == "trees" else f"{len(trained.history)} epochs"
    )
    say(
        f"train     round {number}: validation loss {trained.loss:.4f} after {length}, {show_seconds(trained.measured.train_time_s)}"
    )
    if trained.choice is not None:
        say(f"choose    {trained.family}: {trained.choice.reason}")
    return call.ws.put(trained)


def train_control(call: Call, last_move: str) -> str:
    """Move of the last round -> Trained: the even split of the same family, best of as many trainings by validation loss.

    The rounds' pilots and trainings are matched one by one: pilots choose the control's members and first seed, and each
    training after that takes the next one.
    """
    move = find(call.ws.get(last_move), Move)
    scores = move.trained.plan.attention.scores
    config = call.settings
    twin = even_twin(fit(scores, None, config.attention), move.attention)
    problem = scores.problem
    pilots = choose_control(
        even_plans(call, twin, move.trained.family),
        config,
        trials=trial_count(move.attention),
        train_columns=load_rows(call, problem, "train"),
        validation_columns=load_rows(call, problem, "validation"),
    )
    rounds = move.attention.round
    tried = [
        run_training(call, pilots.plan, pilots.seed + i, f"training control {i + 1}").trained for i in range(rounds)
    ]
    best = min(tried, key=lambda t: t.loss)
    best = replace(best, tried=Tried(pilots=pilots.losses, trainings=tuple(t.loss for t in tried)))
    say(f"control   even split: validation loss {best.loss:.4f}, best of {rounds}")
    return call.ws.put(best)


def has_model(ws: Workspace, value_id: str) -> bool:
    """Whether the value and its model's files are still there."""
    if not ws.has(value_id):
        return False
    return has_files(ws, find(ws.get(value_id), Trained).artifact)


_READ = ("training", "attention", "evaluation.metric", "seed")
TRAIN = Stage(train, sections=_READ, kept=has_model)
TRAIN_CONTROL = Stage(train_control, sections=(*_READ, "envelope", "devices", "iterate"), kept=has_model)
