"""What predicts and learns along a stream: the experts under their plans, begun, adapted, and taught block by block."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int64, Shaped

from abi.adapting.experts import STAYS, change_labels, grow, stay_share
from abi.adapting.online import OnlineNetwork
from abi.adapting.plans import Planning, together
from abi.adapting.stream import Stream, encoded, infer, places_in, with_target
from abi.adapting.watch import Watch
from abi.errors import PlanInfeasible
from abi.families.artifact import Model as NetworkModel
from abi.families.mixing import changed, padded, persistence
from abi.families.mixture import Mixture
from abi.families.trees import TreesModel
from abi.problem import Schema
from abi.streaming import ExpertName
from abi.types import Attention, Cost, Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns
    from abi.metrics import Prediction

PERSISTENCE: Final = "persistence"
CHAMPION: Final = "champion"
SILENT: Final = "the champion takes so much of the envelope that own models beside it would break it: once there are own models it is compared with, and not heard"
LEAST_STEPS: Final = 150
"""Of a network that begins."""
Rows = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class View:
    """The stream as one schema has it: all rows as arrays, and their labels as the models number them."""

    schema: Schema
    columns: Columns
    target: Shaped[np.ndarray, " rows"]
    change: Shaped[np.ndarray, " rows"]
    places: tuple[int, ...]

    @classmethod
    def of(cls, stream: Stream, schema: Schema) -> View:
        """Encode all rows; what is learned from is chosen by row."""
        said = change_labels(stream, stream.last)
        change = said if stream.numeric else np.select([said == STAYS[1], said == STAYS[0]], [1, 0], -1)
        target = places_in(stream, schema)
        return cls(schema, encoded(stream, schema), target, change, stream.places(schema))

    def taught(self, rows: Rows) -> Rows:
        """Those of the rows whose label the models know."""
        return rows if self.schema.task == "regression" else np.asarray(rows[self.target[rows] >= 0])

    def moved(self, rows: Rows) -> Rows:
        """Those whose label, and the one before it, are known."""
        own = self.change[rows]
        return np.asarray(rows[~np.isnan(own) if self.schema.task == "regression" else own >= 0])


@dataclass
class Own:
    """The models that were begun on the stream itself, under one attention and its plans.

    Attributes:
        view: the stream as they see it.
        attention: weights of the features.
        plans: of each expert.
        network: goes on learning.
        trees: grown anew now and then.
        change: trees that say whether, or by how much, the target changes.
        watch: what new rows are held against.
        grown: how many labels had arrived when the trees were grown, and on how many rows.
        since: rows before this one are of another concept: trees learn from them no more.
    """

    view: View
    attention: Attention
    plans: dict[ExpertName, Plan]
    watch: Watch
    network: OnlineNetwork | None = None
    trees: TreesModel | None = None
    change: TreesModel | None = None
    grown: tuple[int, int] = (0, 1)
    since: int = 0


@dataclass
class Learner:
    """All that predicts.

    Attributes:
        stream: the rows.
        planning: machine and settings.
        champion: a registered model and the rows as it sees them; None where the stream is begun cold.
        own: None before there are any.
        silent: whether the champion is heard no more, since own models beside it would break the envelope.
    """

    stream: Stream
    planning: Planning
    champion: ChampionModel | None = None
    own: Own | None = None
    notes: list[str] = field(default_factory=list)
    carried: float = 0.0
    silent: bool = False

    @property
    def config(self) -> Config:
        """Settings."""
        return self.planning.config

    @property
    def names(self) -> tuple[str, ...]:
        """The experts, in the order of `predict`."""
        own = () if self.own is None else tuple(self.own.plans)
        return (PERSISTENCE, *((CHAMPION,) if self.champion is not None else ()), *own)

    @property
    def cost(self) -> Cost:
        """What the plans say of all that is heard."""
        assert self.own is not None
        return together(self.own.plans, self._taken())

    def _taken(self) -> Cost | None:
        return None if self.champion is None or self.silent else self.champion.cost

    def predict(self, block: range) -> list[Prediction]:
        """What each expert says of the block's rows, over all classes of the stream."""
        stream, rows = self.stream, np.arange(block.start, block.stop)
        last, classes = stream.last[rows], len(stream.classes)
        arrived = stream.codes[stream.latest(block.start, self.config.adapt.history)]
        stay = 1.0 if stream.numeric else stay_share(arrived)
        found: list[Prediction] = [persistence(_filled(last, arrived), stay, self.known(), classes)]
        if self.champion is not None:
            found.append(self.champion.predict(rows, classes))
        if self.own is not None:
            found += self._own(self.own, rows, last, classes)
        return found

    def _own(self, own: Own, rows: Rows, last: Shaped[np.ndarray, " _"], classes: int) -> list[Prediction]:
        columns, said = own.view.columns.take(rows), dict[ExpertName, "Prediction"]()
        for name, model in (("network", own.network), ("trees", own.trees)):
            if model is not None:
                result = model.predict(columns) if isinstance(model, OnlineNetwork) else model.predict_columns(columns)
                said[name] = padded(result, own.view.places, classes)  # type: ignore[index]  # the names above
        if own.change is not None:
            believed = said.get("trees", said.get("network"))
            if not self.stream.numeric and believed is None:
                believed = persistence(np.full(len(rows), -1), 0.5, self.known(), classes)
            found = own.change.predict_columns(columns)
            said["change"] = changed(found, last, None if self.stream.numeric else believed)
        return [said[name] for name in own.plans]

    def known(self) -> tuple[int, ...]:
        """Classes that some model knows."""
        own = () if self.own is None else self.own.view.places
        other = () if self.champion is None else self.champion.places
        return tuple(sorted({place for place in (*own, *other) if place < len(self.stream.classes)}))

    def begin(self, row: int) -> Rows:
        """First own models, from the rows whose labels have arrived before `row`; gives the rows that attention is of."""
        stream, config = self.stream, self.config
        rows = stream.latest(row, row)
        schema = infer(
            stream, rows, config, None if self.champion is None else self.champion.known(stream, rows, config)
        )
        attention = self.planning.choose(stream, rows, schema)
        self._make(row, schema, attention, rows, rows)
        return rows

    def adapt(self, row: int, rows: Rows, since: int | None = None) -> None:
        """Attention from `rows`, plans from it, and models from both, with the network's weights where they stay.

        Args:
            row: the first that they will predict.
            rows: labelled, whose labels have arrived.
            since: trees learn from rows before this one no more; None leaves that as it was.
        """
        assert self.own is not None
        since = self.own.since if since is None else since
        held = self._held(row, since)
        schema = infer(self.stream, held, self.config, self.own.view.schema)
        view = self.own.view if schema == self.own.view.schema else View.of(self.stream, schema)
        scores = self.planning.scores(self.stream, view.taught(rows), schema)
        self._make(
            row,
            schema,
            self.planning.attend(scores, self.own.attention.temperature, self.own.attention.trials),
            rows,
            held,
            since,
        )

    def _held(self, row: int, since: int) -> Rows:
        """The latest labelled rows, none of them before `since`."""
        rows = self.stream.latest(row, self.config.adapt.history)
        return rows[rows >= since]

    def _make(self, row: int, schema: Schema, attention: Attention, rows: Rows, held: Rows, since: int = 0) -> None:
        before = self.own
        view = before.view if before is not None and schema == before.view.schema else View.of(self.stream, schema)
        taught = view.taught(held)
        attentions: dict[ExpertName, Attention] = dict.fromkeys(self.planning.experts(schema), attention)
        if "change" in attentions:
            attentions["change"] = self.planning.change_attention(self.stream, rows, schema, attention.temperature)
        plans, notes = self._plans(attentions, len(taught))
        notes = (*notes, SILENT) if self.silent else notes
        self.notes += [note for note in notes if note not in self.notes]
        own = Own(
            view, attention, plans, Watch.begin(view.taught(rows), view.columns, attention, self.config), since=since
        )
        self.carried = 0.0
        if "network" in plans:
            whole = with_target(view.columns, view.target, taught)
            old = self._weights(before)
            own.network, self.carried = OnlineNetwork.begin(plans["network"], whole, self.config.seed, old)
            asked, begins = self.config.adapt, before is None
            own.network.study(
                view.columns, view.target, taught if begins else view.taught(self._held(row, since))[-asked.replay :],
                epochs=asked.epochs, least=LEAST_STEPS if begins else 0, rate=1.0 if begins else asked.rate,
                kl=self.config.attention.kl, seed=_seed(self.config.seed, row),
            )  # fmt: skip
        self.own = own
        self.grow(row)

    def _plans(
        self, attentions: dict[ExpertName, Attention], rows: int
    ) -> tuple[dict[ExpertName, Plan], tuple[str, ...]]:
        """Plans within what the champion leaves; within all of the envelope where that is too little."""
        taken = self._taken()
        if taken is not None and self.planning.leaves_room(taken):
            with contextlib.suppress(PlanInfeasible):
                return self.planning.plans(attentions, rows, taken)
        self.silent = self.silent or taken is not None
        return self.planning.plans(attentions, rows)

    def _weights(self, before: Own | None) -> NetworkModel | None:
        """The network whose weights are taken over: the one before, or the champion's."""
        if before is not None:
            return None if before.network is None else before.network.model
        return None if self.champion is None else self.champion.network

    def grow(self, row: int) -> None:
        """Trees anew, from the latest rows."""
        own, stream = self.own, self.stream
        assert own is not None
        rows = self._held(row, own.since)
        view = own.view
        if "trees" in own.plans:
            own.trees = grow(own.plans["trees"], view.columns, view.target, view.taught(rows), self.config)
        if "change" in own.plans:
            own.change = grow(own.plans["change"], view.columns, view.change, view.moved(rows), self.config)
        own.grown = (stream.arrivals.until(row), len(rows))

    def due(self, row: int) -> bool:
        """Whether enough labels came since the trees were grown."""
        assert self.own is not None
        arrived, rows = self.own.grown
        return self.stream.arrivals.until(row) - arrived >= max(1, math.ceil(self.config.adapt.refit * rows))

    def learn(self, block: range) -> None:
        """A few steps of the network on what arrived with the block."""
        own, asked, stream = self.own, self.config.adapt, self.stream
        if own is None or own.network is None or not asked.steps:
            return
        since = stream.arrivals.rows[stream.arrivals.until(block.start) : stream.arrivals.until(block.stop)]
        before = stream.latest(block.start, asked.replay)
        own.network.learn(
            own.view.columns, own.view.target, own.view.taught(since), own.view.taught(before),
            steps=asked.steps, rate=asked.rate, kl=self.config.attention.kl, seed=_seed(self.config.seed, block.stop),
        )  # fmt: skip

    def new_classes(self, row: int) -> tuple[str, ...]:
        """Labels that have arrived and that the own models do not know."""
        assert self.own is not None
        stream = self.stream
        if stream.numeric:
            return ()
        return tuple(stream.classes[c] for c in stream.classes_until(row) if c not in self.own.view.places)


@dataclass(frozen=True)
class ChampionModel:
    """A registered model that the stream starts with, and the rows as it sees them; it is never adapted.

    Attributes:
        columns: all rows.
        places: where its classes stand among the stream's.
        model: what predicts.
        network: its network, whose weights the first own one takes over; None where it has none.
        schema: what it learned.
        first: the first row that it predicts.
        cost: what was measured of it; None where it is not known, and then not counted.
    """

    columns: Columns
    places: tuple[int, ...]
    model: object
    network: NetworkModel | None
    schema: Schema
    first: int = 0
    cost: Cost | None = None

    def predict(self, rows: Rows, classes: int) -> Prediction:
        """Over all classes of the stream."""
        return padded(self._said(rows), self.places, classes)

    def _said(self, rows: Rows) -> Float[np.ndarray, "rows ..."]:
        if isinstance(self.model, Mixture):
            return np.asarray(self._in_order[rows - self.first])
        found: Float[np.ndarray, "rows ..."] = self.model.predict_columns(self.columns.take(rows))  # type: ignore[attr-defined]
        return found

    @cached_property
    def _in_order(self) -> Float[np.ndarray, "rows ..."]:
        """What a mixture says of all rows from the first on: it goes on from row to row."""
        assert isinstance(self.model, Mixture)
        return self.model.predict_columns(self.columns.take(np.arange(self.first, len(self.columns))))

    def known(self, stream: Stream, rows: Rows, config: Config) -> Schema | None:
        """Its classes, as what was known before the stream began."""
        if stream.numeric:
            return None
        return replace(infer(stream, rows, config), classes=self.schema.classes)


def _filled(last: Shaped[np.ndarray, " _"], arrived: Shaped[np.ndarray, " _"]) -> Shaped[np.ndarray, " _"]:
    """Of a regression, rows before the first label get 0: there is nothing to repeat."""
    if last.dtype != np.float64 or len(arrived):
        return last
    return np.asarray(np.nan_to_num(last))


def _seed(seed: int, row: int) -> int:
    """Of one block: the same whether the stream was stopped before it or not."""
    return int(np.random.SeedSequence([seed, row]).generate_state(1)[0])
