"""Stage: tune the encoders that the settings ask it of for the target, before anything is made of their vectors."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from abi.cores import cores
from abi.documents import find
from abi.errors import DataError, clip
from abi.families.sizes import outputs
from abi.problem import Checks, with_tuned
from abi.report.tuned import tuned_sentence
from abi.training.tune import TuneLimits, TuneRows
from abi.training.tune import tune as tune_encoder
from abi.tuning import Tuning
from tasks.data import load_rows, open_reader
from tasks.progress import say
from tasks.stage import Call, Stage
from tasks.training import FileCheckpoints
from tasks.vectors import keep_tuned, tuned_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abi.data.columns import Columns
    from abi.inputs.tunable import Tunable
    from abi.problem import Feature, Problem, Schema

LEAST_ROWS: Final = 64
"""Training rows with a value below which there is nothing to tune on."""
LEAST_JUDGED: Final = 8
"""The same of validation rows."""


def tune(call: Call, checks: str) -> str:
    """Checks -> Checks whose problem has the tuned encoders where these do better on validation rows.

    Raises:
        DataError: too few rows have a value.
        PlanInfeasible: not one row fits the envelope's memory.
    """
    value = find(call.ws.get(checks), Checks)
    schema, named = value.problem.schema, call.settings.data.encoders
    asked = [f for f in schema.features if f.encoder is not None and named[f.column].tune is not None]
    found = tuple(_tuned(call, value, feature, len(asked)) for feature in asked)
    for one in found:
        say(f"tune      {tuned_sentence(one)}")
    return call.ws.put(replace(value, problem=with_tuned(value.problem, found), tuned=found))


def _tuned(call: Call, checks: Checks, feature: Feature, among: int) -> Tuning:
    """One encoder's; the time is divided evenly `among` those that are tuned."""
    from abi.inputs.tunable import TunablePictures, TunableText, tuned_files

    problem, config = checks.problem, call.settings
    schema, encoder, settings = problem.schema, feature.encoder, config.data.encoders[feature.column]
    assert encoder is not None
    assert settings.tune is not None
    folder, asked = settings.path.expanduser(), settings.tune
    train, validation = (load_rows(call, problem, role) for role in ("train", "validation"))
    values, vectors, rows = _joined(schema, feature, train, validation)
    seen = "picture" if feature.of_sight else "text"
    for role, least, one in zip(("training", "validation"), (LEAST_ROWS, LEAST_JUDGED), rows, strict=True):
        if len(one.number) < least:
            msg = f"Expected at least {least} {role} rows with a {seen} in the column {clip(feature.column)!r} to tune its encoder, got {len(one.number)}: give more rows, or leave `tune` out of data.encoders."
            raise DataError(msg)
    limit_s = config.envelope.train_time
    limits = TuneLimits(seconds=None if limit_s is None else limit_s / among, memory_bytes=config.envelope.memory)
    torch.set_num_threads(config.training.threads or cores())
    name = hashlib.sha256(f"{problem.id}:{encoder.id}:{feature.name}:{asked}:{limits}:{config.seed}".encode())
    checkpoints = FileCheckpoints(call.ws, f"tune-{name.hexdigest()[:32]}.safetensors")
    model: Tunable = (
        TunablePictures(folder, asked.layers, _files(call, problem, feature, values))
        if feature.of_sight
        else TunableText(encoder, folder, asked.layers, values)
    )
    done = tune_encoder(
        model, vectors, *rows, schema.task, outputs(schema), asked, limits, seed=config.seed, checkpoints=checkpoints
    )
    sha256 = keep_tuned(call.ws, tuned_files(folder, done.best)) if done.best else encoder.sha256
    checkpoints.clear()
    return Tuning(
        feature=feature.name,
        base=encoder.sha256,
        sha256=sha256,
        rows=done.rows,
        rows_there=len(rows[0].number),
        epochs=done.epoch,
        best_epoch=done.best_epoch,
        layers=model.last.count,
        parameters=sum(p.numel() for p in model.last.named().values()),
        loss_before=done.loss_before,
        loss_after=done.loss_after if math.isfinite(done.loss_after) else None,
        train_loss=done.train_loss if math.isfinite(done.train_loss) else None,
        seconds=round(done.seconds, 3),
        micro_batch=done.micro_batch,
        shortened=done.shortened,
    )


def _joined(
    schema: Schema, feature: Feature, train: Columns, validation: Columns
) -> tuple[list[str], torch.Tensor, tuple[TuneRows, TuneRows]]:
    """(the distinct texts of both roles, or the names of their pictures, their vectors, the rows of each role that have one)."""
    place = [f.name for f in schema.features if f.kind != "numeric"].index(feature.name)
    values, vectors, found = list[str](), [], []
    assert train.target is not None
    mean, deviation = (
        (float(train.target.mean()), float(train.target.std()) or 1.0) if schema.task == "regression" else (0.0, 1.0)
    )
    for columns in (train, validation):
        codes, target = columns.categorical[place], columns.target
        assert codes.vectors is not None
        assert target is not None
        there = np.flatnonzero(codes.codes >= 0)
        kept = torch.from_numpy(target[there])
        if schema.task == "regression":
            kept = ((kept - mean) / deviation).float()
        found.append(TuneRows(codes.codes[there].astype(np.int64) + len(values), kept))
        values += codes.values
        vectors.append(torch.from_numpy(codes.vectors))
    return values, torch.cat(vectors), (found[0], found[1])


def _files(call: Call, problem: Problem, feature: Feature, names: Sequence[str]) -> list[bytes]:
    """The files of pictures by their names."""
    reader = open_reader(call, problem)
    found = {name: file for role in ("train", "validation") for name, file in reader.files(role, feature)}
    return [found[name] for name in names]


def is_kept(call: Call, value_id: str) -> bool:
    """Whether the value and the folders of the tuned encoders are still there."""
    ws = call.ws
    if not ws.has(value_id):
        return False
    tuned = find(ws.get(value_id), Checks).tuned
    return all(not one.kept or tuned_folder(ws, one.sha256) is not None for one in tuned)


TUNE = Stage(
    tune, sections=("data", "envelope.memory", "envelope.train_time", "training.threads", "seed"), kept=is_kept
)
