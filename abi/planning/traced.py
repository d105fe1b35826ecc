"""A plan's network as shapes alone: built of made-up data of the right sizes, trained for a step under fake tensors.

Nothing of the data is read: how many knots, rows, terms and cells there are follows from the plan, how long a text is on
average from the counts of its terms.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from abi.execution.step import Enter, Step, Training
from abi.families.alignment import alignment_loss, begin_alignment
from abi.families.artifact import joined
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.families.preparation import Lexicon, Parts, Preparation, parts_of
from abi.inputs import sequence
from abi.inputs.categorical import EXTRA_ROWS
from abi.inputs.embedding import VectorRows
from abi.inputs.kind import CellPart, TableRows
from abi.inputs.numeric import NumericCodes
from abi.inputs.profile import Sharing
from abi.inputs.region import GridCells
from abi.inputs.sequence import SequenceRows, Words
from abi.inputs.text import BagCells, TextEncoder
from abi.problem import Schema, Task
from abi.types import Alignment, Capacity, FeatureCapacity, Plan

CLIP: Final = 1.0
INDEX_BYTES: Final = 4
LONG_BYTES: Final = 8
FLOAT_BYTES: Final = 4


class Trained(nn.Module):
    """A network with the loss that it is trained by; outside training it gives predictions."""

    def __init__(
        self, network: Network, task: Task, smoothing: float, kl: float, alignment: Alignment | None = None
    ) -> None:
        super().__init__()
        self.network, self.task, self.smoothing, self.kl = network, task, smoothing, kl
        self.alignment = alignment
        begin_alignment(network, alignment)

    def forward(self, cells: Cells, target: Tensor) -> Tensor:
        """The loss of these rows; in evaluation their predictions."""
        if not self.training:
            return joined(self.network(cells), self.task)
        if self.network.projections is None:
            return self._loss(self.network(cells), target)
        embedding = self.network.embed(cells)
        loss = self._loss(self.network.attend(embedding), target)
        beside = alignment_loss(self.network, embedding, None, self.alignment)
        return loss if beside is None else loss + beside

    def _loss(self, out: Tensor, target: Tensor) -> Tensor:
        return members_loss(out, target, self.task, self.smoothing) + self.kl * self.network.attention.divergence()


class ClippedAdamW(torch.optim.AdamW):
    """AdamW after the gradients were clipped by their norm, as `abi.training.loop` steps."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Clip, then step."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters], foreach=True)
        nn.utils.clip_grads_with_norm_(parameters, CLIP, norm, foreach=True)
        return super().step(closure)


def clipped_adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of the project's networks."""
    return ClippedAdamW(parameters, fused=True)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Gives a plan's network with its loss, of random weights and made-up knots, vocabularies and terms.

    Where they are `halved` it sees images at half their size.
    """

    schema: Schema
    capacity: Capacity
    dropout: float
    term_dropout: float
    smoothing: float
    kl: float
    low_precision: bool = False
    alignment: Alignment | None = None
    halved: bool = False

    def __call__(self) -> Trained:
        """Build it."""
        features, capacity = self.schema.features, self.capacity
        network = Network(
            self.schema,
            capacity,
            made_up(self.schema, capacity),
            np.full(len(features), 1 / len(features)),
            dropout=self.dropout,
            low_precision=self.low_precision,
            masks={
                f.feature: np.arange(_terms(f) * f.width).reshape(-1, f.width) < f.start_entries
                for _, f in parts_of(self.schema, capacity).text
            },
        )
        network.term_dropout = self.term_dropout
        network.halve(self.halved)
        return Trained(network, self.schema.task, self.smoothing, self.kl, self.alignment)


@dataclass(frozen=True)
class OwnTraining(Training):
    """A training whose network multiplies in bfloat16 by itself."""

    def warm_up(self, step: Step, enter: Enter) -> None:
        """The optimizer's state by a step without gradients, and the tables that texts keep."""
        for parameter in step.module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        enter("optimizer")
        step.optimizer.step()
        enter(None)
        for encoder in step.module.modules():
            if isinstance(encoder, TextEncoder):
                encoder.table()

    def changed(self, **fields: Any) -> Training:
        """The same with other fields; the network is built for its arithmetic."""
        low = fields.get("arithmetic", self.arithmetic) == "bfloat16"
        assert isinstance(self.build, Build)
        return super().changed(**fields, build=replace(self.build, low_precision=low))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A batch of a plan's network; `lengths` are the terms of a text on average, by text."""

    parts: Parts
    schema: Schema
    lengths: tuple[int, ...]

    def make(self, rows: int, device: str = "cpu") -> dict[str, Any]:
        """Cells and target, whose values do not matter."""
        parts = self.parts

        def whole(*size: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        made: list[CellPart] = []
        if numbers := len(parts.numeric):
            made.append(NumericCodes(whole(rows, numbers), whole(rows, numbers, dtype=torch.float32)))
        if parts.categorical:
            made.append(TableRows(whole(rows, len(parts.categorical))))
        if parts.shared:
            made.append(TableRows(whole(rows, len(parts.shared), 2)))
        made += [
            VectorRows(whole(rows, dtype=torch.int64), whole(rows, given.rows, dtype=torch.float32))
            for _, given in parts.embedding
        ]
        made += [
            SequenceRows(whole(rows, dtype=torch.int64), whole(rows, given.length or 0)) for _, given in parts.sequence
        ]
        made += [
            BagCells(
                whole(rows, dtype=torch.int64),
                whole(length, dtype=torch.int64),
                whole(length, dtype=torch.float32),
                torch.tensor([0, length], device=device),
                rows * length,
            )
            for length in self.lengths
        ]
        made += [
            GridCells(
                whole(rows, g.grid.channels, g.grid.height, g.grid.width, dtype=torch.uint8),
                torch.arange(rows, device=device),
            )
            for g in parts.grids
        ]
        cells = Cells(tuple(made), rows)
        if self.schema.task == "multilabel":
            return {"cells": cells, "target": whole(rows, len(self.schema.classes), dtype=torch.bool)}
        kind = torch.float32 if self.schema.task == "regression" else torch.int64
        return {"cells": cells, "target": whole(rows, dtype=kind)}

    @property
    def row_bytes(self) -> int:
        """Bytes of one encoded row with its target, on a device."""
        parts = self.parts
        cells = len(parts.numeric) * (INDEX_BYTES + FLOAT_BYTES) + INDEX_BYTES * len(parts.categorical)
        cells += 2 * INDEX_BYTES * len(parts.shared)
        cells += sum(LONG_BYTES + g.grid.channels * g.grid.height * g.grid.width for g in parts.grids)
        texts = sum(2 * LONG_BYTES + length * (LONG_BYTES + FLOAT_BYTES) for length in self.lengths)
        cells += sum(LONG_BYTES + given.rows * FLOAT_BYTES for _, given in parts.embedding)
        cells += sum(LONG_BYTES + (given.length or 0) * INDEX_BYTES for _, given in parts.sequence)
        target = {"regression": FLOAT_BYTES, "multilabel": len(self.schema.classes)}.get(self.schema.task, LONG_BYTES)
        return cells + texts + target


def training_of(plan: Plan, kl: float, *, halved: bool = False) -> OwnTraining:
    """What a plan trains, as `abi.execution` traces it; where it is `halved` as its first part is, of smaller images."""
    schema, execution = plan.attention.scores.problem.schema, plan.execution
    build = Build(
        schema=schema,
        capacity=plan.capacity,
        dropout=execution.dropout,
        term_dropout=execution.term_dropout,
        smoothing=execution.smoothing,
        kl=kl,
        alignment=execution.alignment,
        halved=halved,
    )
    return OwnTraining(build=build, batch=rows_of(plan), optimizer=clipped_adamw, autocast=False, reads=True)


def training_of_reference(schema: Schema, capacity: Capacity) -> OwnTraining:
    """The same of a reference network of numeric features."""
    build = Build(schema=schema, capacity=capacity, dropout=0.1, term_dropout=0.0, smoothing=0.0, kl=0.0)
    rows = Rows(parts=parts_of(schema, capacity), schema=schema, lengths=())
    return OwnTraining(build=build, batch=rows, optimizer=clipped_adamw, autocast=False, reads=True)


def rows_of(plan: Plan) -> Rows:
    """What a plan's network is fed."""
    schema = plan.attention.scores.problem.schema
    parts = parts_of(schema, plan.capacity)
    lengths = []
    for _, given in parts.text:
        known = plan.attention.scores.terms_of(given.feature)
        lengths.append(max(1, math.ceil(sum(known.rows[: given.rows]) / max(1, known.texts))))
    return Rows(parts=parts, schema=schema, lengths=tuple(lengths))


def made_up(schema: Schema, capacity: Capacity) -> Preparation:
    """Knots, vocabularies, shared rows and terms as many as the plan allows; training may find fewer."""
    parts = parts_of(schema, capacity)
    numeric = sum(f.kind == "numeric" for f in schema.features)
    edges: list[tuple[float, ...]] = [()] * numeric
    for place, given in parts.numeric:
        edges[place] = _knots(given.bins)
    vocabularies: list[tuple[str, ...]] = [()] * (len(schema.features) - numeric)
    for place, given in parts.categorical:
        vocabularies[place] = ("",) * max(1, given.rows - EXTRA_ROWS)
    return Preparation(
        edges=tuple(edges),
        vocabularies=tuple(vocabularies),
        sharing={
            given.feature: Sharing(own=("",) * (given.rows - given.shared), others=(), bucket=(), level=(), unseen=0)
            for _, given in parts.shared
        },
        lexicons={
            given.feature: Lexicon(terms=("",) * _terms(given), inverse=(1.0,) * _terms(given))
            for _, given in parts.text
        },
        words=tuple(
            Words(feature=given.feature, words=("",) * max(0, given.rows - sequence.EXTRA_ROWS))
            for _, given in parts.sequence
        ),
    )


@functools.cache
def _knots(bins: int) -> tuple[float, ...]:
    return tuple(float(i) for i in range(bins + 1))


def _terms(given: FeatureCapacity) -> int:
    """Terms with a cell: no more than there are cells."""
    return max(1, min(given.rows, given.start_entries))
