"""Attention and plans of what learns along a stream, each expert within its part of the envelope."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped

from abi.adapting.experts import change_labels, change_schema, grow
from abi.adapting.online import at_planned_size
from abi.adapting.stream import Stream, encoded, places_in, with_target
from abi.attention.fit import fit
from abi.errors import DataError, PlanInfeasible
from abi.families.sizes import outputs
from abi.metrics import row_loss
from abi.planning.family import KINDS_OF_TREES, plan_family
from abi.planning.machine import Machine
from abi.problem import Schema
from abi.scoring.score import score
from abi.streaming import ExpertName
from abi.types import Attention, Cost, Plan, Scores, Trial

if TYPE_CHECKING:
    from abi.config import Config

LEARNED: Final = 10.0
"""Rounds times shrinkage where the settings name no shrinkage: few rounds, grown anew often."""
RATES: Final = (0.1, 0.3)
"""Its bounds."""
LEAF_ROWS: Final = 3
LEAVES_OF_CLASS: Final = 10
"""A leaf has at most this part of the rows that a class has on average, and `LEAF_ROWS` at least."""
HELD: Final = 0.15
"""Share of the warm-up, its last rows, that the temperature is chosen on."""
LEFT: Final = 0.5
"""Share of each limit that a champion must leave to the experts to be heard beside them."""
DECIDING_ROWS: Final = 50
Rows = Int64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Planning:
    """What plans follow from beside attention."""

    machine: Machine
    config: Config

    def settings(self, outputs: int) -> Config:
        """With what a stream asks for where the settings name nothing; a round has `outputs` trees."""
        asked, training = self.config.adapt, self.config.training
        trees = training.trees
        rounds = trees.rounds or max(1, min(asked.rounds, asked.trees // outputs))
        named = {"rounds": rounds, "learning_rate": trees.learning_rate or float(np.clip(LEARNED / rounds, *RATES))}
        changes = {"trees": trees.model_copy(update=named), "epochs": training.epochs or asked.epochs}
        return self.config.model_copy(update={"training": training.model_copy(update=changes)})

    def experts(self, schema: Schema) -> tuple[ExpertName, ...]:
        """Those that are asked for and can learn this: trees read no text, and of two classes the change says nothing new."""
        only_network = any(f.kind not in KINDS_OF_TREES for f in schema.features)
        found: list[ExpertName] = []
        for name in self.config.adapt.experts:
            if name != "network" and only_network:
                continue
            if name == "change" and schema.task == "binary":
                continue
            found.append(name)
        return tuple(found) or ("network",)

    def leaves_room(self, champion: Cost) -> bool:
        """Whether what a champion takes leaves the experts `LEFT` of the envelope."""
        whole = self.config.envelope.limits()
        limits = ((whole.parameters, champion.parameters), (whole.latency_s, champion.latency_s))
        return all(limit is None or taken <= (1 - LEFT) * limit for limit, taken in limits)

    def plan(
        self, name: ExpertName, attention: Attention, rows: int, experts: int, champion: Cost | None = None
    ) -> Plan:
        """One expert's plan in its part of the envelope.

        Args:
            name: of the expert.
            attention: weights of the features.
            rows: that it learns from.
            experts: that share the envelope.
            champion: what one takes of it that is heard beside them.

        Raises:
            PlanInfeasible: nothing fits.
        """
        whole = self.config.envelope.limits()
        parameters, latency_s = (0, 0.0) if champion is None else (champion.parameters, champion.latency_s)
        part = replace(
            whole,
            parameters=None if whole.parameters is None else (whole.parameters - parameters) // experts,
            memory_bytes=None if whole.memory_bytes is None else whole.memory_bytes // experts,
            latency_s=None if whole.latency_s is None else (whole.latency_s - latency_s) / experts,
        )
        made = plan_family(
            attention, part, self.settings(outputs(attention.scores.problem.schema)), self.machine,
            train_rows=rows, validation_rows=0, family="network" if name == "network" else "trees",
        )  # fmt: skip
        return _for_classes(at_planned_size(made), rows)

    def plans(
        self, attentions: dict[ExpertName, Attention], rows: int, champion: Cost | None = None
    ) -> tuple[dict[ExpertName, Plan], tuple[str, ...]]:
        """Those that fit their parts, or else the first that fits the whole, and a note for each that does not.

        Raises:
            PlanInfeasible: none fits.
        """
        found: dict[ExpertName, Plan] = {}
        for name, attention in attentions.items():
            with contextlib.suppress(PlanInfeasible):
                found[name] = self.plan(name, attention, rows, len(attentions), champion)
        if not found:
            found = self._alone(attentions, rows, champion)
        return found, tuple(
            f"no {name} fits its part of the envelope, so there is none" for name in attentions if name not in found
        )

    def _alone(
        self, attentions: dict[ExpertName, Attention], rows: int, champion: Cost | None
    ) -> dict[ExpertName, Plan]:
        refused: PlanInfeasible | None = None
        for name, attention in attentions.items():
            try:
                return {name: self.plan(name, attention, rows, 1, champion)}
            except PlanInfeasible as error:
                refused = error
        assert refused is not None
        raise refused

    def scores(
        self, stream: Stream, rows: Rows, schema: Schema, labels: Shaped[np.ndarray, " _"] | None = None
    ) -> Scores:
        """What these rows say that the features are worth."""
        config = self.config
        return score(stream.reader(rows, schema, config.seed, labels), config.scoring, tail=config.attention.tail > 0)

    def attend(self, scores: Scores, temperature: float | None, trials: tuple[Trial, ...] = ()) -> Attention:
        """Weights at a temperature that was chosen before."""
        texts = any(f.kind == "text" for f in scores.problem.schema.features)
        return fit(scores, temperature, self.config.attention, trials, frugal=texts)

    def choose(self, stream: Stream, rows: Rows, schema: Schema) -> Attention:
        """Attention at the temperature that trees on the first rows favour on the last ones.

        The even split is tried first; a steeper one is taken where its loss is lower by `attention.caution` standard errors.
        Without trees, or with too few rows, the flattest temperature of the settings is taken.
        """
        config = self.config.attention
        scores = self.scores(stream, rows, schema)
        cut = len(rows) - round(HELD * len(rows))
        if "trees" not in self.experts(schema) or len(rows) - cut < DECIDING_ROWS:
            return self.attend(scores, max(config.temperatures, default=None))
        columns, target = encoded(stream, schema), places_in(stream, schema)
        judged = with_target(columns, target, rows[cut:])
        assert judged.target is not None
        best, least, trials = None, None, list[Trial]()
        for temperature in (None, *sorted(config.temperatures, reverse=True)):
            try:
                plan = self.plan("trees", self.attend(scores, temperature), cut, 1)
            except PlanInfeasible:
                return self.attend(scores, max(config.temperatures, default=None))
            model = grow(plan, columns, target, rows[:cut], self.config)
            losses = row_loss(schema.task, judged.target, model.predict_columns(judged))
            gain, error = None, None
            if least is not None:
                gap = least - losses
                gain, error = float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))
            trials.append(
                Trial(temperature=temperature, loss=float(losses.mean()), metric=None, gain=gain, error=error)
            )
            if least is None or (gain or 0.0) > config.caution * (error or 0.0):
                best, least = temperature, losses
        return self.attend(scores, best, tuple(trials))

    def change_attention(self, stream: Stream, rows: Rows, schema: Schema, temperature: float | None) -> Attention:
        """The same for trees of the change.

        Raises:
            DataError: no row has a label that was known before it.
        """
        labels = change_labels(stream, stream.last)
        there = rows[~pd.isna(labels[rows])]
        if not len(there):
            msg = f"Expected labels that are known before later rows among the {len(rows):,} that are learned from, got none with adapt.label_delay {self.config.adapt.label_delay:,}: lower it, raise adapt.warmup, or leave 'change' out of adapt.experts."
            raise DataError(msg)
        return self.attend(self.scores(stream, there, change_schema(schema), labels), temperature)


def _for_classes(plan: Plan, rows: int) -> Plan:
    """Leaves of fewer rows where each class has few: a class could not have a leaf of its own otherwise."""
    if plan.trees is None:
        return plan
    classes = max(1, len(plan.attention.scores.problem.schema.classes))
    least = max(LEAF_ROWS, min(plan.trees.least_rows, rows // (LEAVES_OF_CLASS * classes)))
    return replace(plan, trees=replace(plan.trees, least_rows=least))


def together(plans: dict[ExpertName, Plan], champion: Cost | None = None) -> Cost:
    """What all experts cost, and a champion that is heard beside them: parameters, memory and time of a row add up."""
    costs = [plan.predicted for plan in plans.values()]
    if champion is not None:
        costs.append(replace(champion, memory_bytes=0, train_time_s=0.0))  # it is trained no more
    return Cost(
        parameters=sum(c.parameters for c in costs),
        memory_bytes=sum(c.memory_bytes for c in costs),
        train_time_s=sum(c.train_time_s for c in costs),
        latency_s=sum(c.latency_s for c in costs),
    )
