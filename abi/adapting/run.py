"""The loop over blocks: predict, then learn from what has arrived, and adapt where drift asks for it.

A block's rows are predicted by models that learned from labels that had arrived before the block; past labels among the
features, and the experts' shares, go on row by row, each by the labels that have arrived when the row is predicted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Shaped

from abi.adapted import Adaptation, Adapted, Cause
from abi.adapting.blend import Blend
from abi.adapting.learner import CHAMPION, PERSISTENCE, ChampionModel, Learner, Rows
from abi.adapting.plans import Planning
from abi.adapting.prequential import again, contender, losses, points, usual
from abi.adapting.stream import Stream
from abi.adapting.watch import SQUARES
from abi.types import Attention, Plan

if TYPE_CHECKING:
    from abi.metrics import Prediction

ADAPTED: Final = "adapted"
NEVER: Final = "never adapted"
ORDER: Final = (PERSISTENCE, CHAMPION, "network", "trees", "change")
LEAST_CHANCE: Final = 0.01
"""A probability below this counts as this in an expert's loss: one row cannot end an expert."""
CHUNK: Final = 2_048

Say = Callable[[str], None]
Decided = Callable[[Adaptation, Attention, dict[str, Plan]], None]


@dataclass
class Trail:
    """What was said of each row so far, and what it was worth: all that the figures are made of.

    Attributes:
        says: predicted class numbers or values, by who said them; -1 or NaN where nobody did.
        lost: of each expert's row, the loss that moves its share; NaN where it said nothing.
        shares: the experts' shares at the end of each block, with the row where it ended.
        adaptations: decisions.
        grown: how often trees were grown.
        seconds: of work so far.
    """

    says: dict[str, Shaped[np.ndarray, " rows"]]
    lost: dict[str, Float[np.ndarray, " rows"]]
    shares: dict[int, dict[str, float]] = field(default_factory=dict)
    adaptations: list[Adaptation] = field(default_factory=list)
    grown: int = 0
    seconds: float = 0.0


class Run:
    """One stream from its first scored row to its last."""

    def __init__(
        self, stream: Stream, planning: Planning, champion: ChampionModel | None = None, *,
        first: int | None = None, decided: Decided = lambda made, attention, plans: None,  # noqa: ARG005
        say: Say = lambda text: None,  # noqa: ARG005
    ) -> None:  # fmt: skip
        self.stream, self.config = stream, planning.config
        self.learner = Learner(stream, planning, champion)
        self.begin = stream.warmup if champion is None else first or 0
        self.row = self.begin
        self.trail = Trail({}, {})
        self.blend = Blend.even(
            len(self.learner.names), self.config.adapt.blend_rows, self.config.adapt.blend_temperature
        )
        self.absorbed = self.begin
        self.alarm = False
        self.last_look = self.begin
        self.watched_from = self.begin
        self._decided, self._say = decided, say

    @property
    def done(self) -> bool:
        """Whether all rows were predicted."""
        return self.row >= self.stream.rows

    def start(self) -> None:
        """Before the first block: own models where no champion predicts, and what "never adapted" says of every row."""
        clock = time.perf_counter()
        if self.learner.champion is None or (self.row >= self.stream.warmup and self._labelled(self.row)):
            self._begin_own()
        self.trail.says[NEVER] = self._frozen()
        self.trail.seconds += time.perf_counter() - clock

    def step(self) -> None:
        """One block."""
        clock = time.perf_counter()
        block = range(self.row, min(self.stream.rows, self.row + self.config.adapt.every))
        self._predict(block)
        self.row = block.stop
        if not self.done:
            self._learn(block)
        self.trail.shares[self.row] = dict(zip(self.learner.names, self.blend.weights.tolist(), strict=True))
        self.trail.seconds += time.perf_counter() - clock

    def finish(self) -> None:
        """Learn from the last block too, whose labels have all arrived by now: what the next row would be predicted by.

        No decision is made: none of its rows is left to be scored.
        """
        clock, own = time.perf_counter(), self.learner.own
        self._absorb(self.row - 1 + self.config.adapt.label_delay)
        if own is not None:
            last = self.begin + (self.row - self.begin - 1) // self.config.adapt.every * self.config.adapt.every
            self.learner.learn(range(last, self.row))
            if self.learner.due(self.row):
                self.learner.grow(self.row)
                self.trail.grown += 1
        self.trail.seconds += time.perf_counter() - clock

    def _predict(self, block: range) -> None:
        said, names = self.learner.predict(block), self.learner.names
        rows, stacked = np.arange(block.start, block.stop), np.stack(said)
        for name, prediction in zip(names, said, strict=True):
            self._column(self.trail.lost, name, np.nan)[rows] = self._loss(prediction, rows)
            self._note(name, rows, prediction)
        for i, row in enumerate(rows):
            self._absorb(int(row))
            mixed = np.tensordot(self.blend.weights, stacked[:, i : i + 1], 1)
            self._note(ADAPTED, rows[i : i + 1], mixed)

    def _note(self, name: str, rows: Rows, prediction: Prediction) -> None:
        empty = np.nan if self.stream.numeric else -1.0
        column = self._column(self.trail.says, name, empty)
        column[rows] = prediction if self.stream.numeric else prediction.argmax(axis=1)

    def _column(
        self, columns: dict[str, Shaped[np.ndarray, " rows"]], name: str, empty: float
    ) -> Shaped[np.ndarray, " rows"]:
        if name not in columns:
            columns[name] = np.full(self.stream.rows, empty)
        return columns[name]

    def _loss(self, prediction: Prediction, rows: Rows) -> Float[np.ndarray, " _"]:
        """Log loss in nats, or squared error over the variance of the labels so far; NaN without a label."""
        codes = self.stream.codes[rows]
        if self.stream.numeric:
            return np.asarray((prediction - codes) ** 2 / self._variance(int(rows[0])))
        chance = prediction[np.arange(len(rows)), codes]
        return np.where(codes < 0, np.nan, -np.log(np.maximum(chance, LEAST_CHANCE)))

    def _variance(self, row: int) -> float:
        seen = self.stream.codes[self.stream.latest(row, self.config.adapt.history)]
        return float(seen.var()) or 1.0 if len(seen) else 1.0

    def _absorb(self, row: int) -> None:
        """Let the blend and the detector of errors know of each label that has arrived before `row` is predicted."""
        own, names = self.learner.own, self.learner.names
        last = row - self.config.adapt.label_delay
        while self.absorbed <= last:
            at, self.absorbed = self.absorbed, self.absorbed + 1
            if not self.stream.known(at):
                continue
            lost = np.array([self.trail.lost[name][at] if name in self.trail.lost else np.nan for name in names])
            mine = ~np.isnan(lost)
            if mine.any():  # of one that said nothing then, what all did on average
                self.blend.absorb(np.where(mine, lost, lost[mine].mean()))
            if own is not None:
                self.alarm |= own.watch.errors.add(self._error(at))

    def watch_again(self) -> None:
        """Show the detector the errors that it had seen: it is not kept, since they are."""
        assert self.learner.own is not None
        for row in range(self.watched_from, self.absorbed):
            if self.stream.known(row):
                self.learner.own.watch.errors.add(self._error(row))

    def _error(self, row: int) -> float:
        """In [0, 1]."""
        said, true = self.trail.says[ADAPTED][row], self.stream.codes[row]
        if not self.stream.numeric:
            return float(said != true)
        return min(1.0, float((said - true) ** 2) / (SQUARES * self._variance(row)))

    def _learn(self, block: range) -> None:
        self._absorb(self.row)
        own = self.learner.own
        if own is None:
            if self.row >= self.stream.warmup and self._labelled(self.row):
                self._begin_own()
            return
        new, due = self.learner.new_classes(self.row), self.learner.due(self.row)
        causes, reasons, rows = self._asked(new if due else ())
        if causes:
            self._adapt(causes, reasons, rows, new)
            return
        self.learner.learn(block)
        if due:
            self.learner.grow(self.row)
            self.trail.grown += 1

    def _labelled(self, row: int) -> bool:
        return len(np.unique(self.stream.codes[self.stream.latest(row, row)])) > 1

    def _asked(self, new: tuple[str, ...]) -> tuple[list[Cause], list[str], Rows]:
        """Why to adapt now, and from which rows; nothing where nothing asks for it."""
        own, asked = self.learner.own, self.config.adapt
        assert own is not None
        causes, reasons = list[Cause](), list[str]()
        width = asked.window
        rested = self.row - self.trail.adaptations[-1].row >= asked.cooldown
        if self.alarm and rested:
            causes.append("error")
            width = min(asked.history, max(width, own.watch.errors.width))
            reasons.append(
                f"error: the blend's mean error rose, to {own.watch.errors.mean:.3f} over the last {own.watch.errors.width} rows"
            )
        if rested and self.row - self.last_look >= asked.window:
            self.last_look = self.row
            recent = self.stream.latest(self.row, asked.window)
            found = own.watch.look(self.stream, own.view.schema, own.view.columns, recent, own.attention, self.config)
            causes += found.causes
            reasons += found.reasons
        if new:
            causes.append("classes")
            reasons.append(f"classes: {len(new)} that no model knows")
            width = asked.history if not self.alarm else width
        return causes, reasons, self.stream.latest(self.row, width)

    def _begin_own(self) -> None:
        rows = self.learner.begin(self.row)
        extra = len(self.learner.names) - len(self.blend.losses)
        self.blend.join(extra)
        self.hush()
        self.trail.grown += 1
        self.watched_from = self.absorbed
        self._enter(["start"], ["start: the first rows were learned from"], rows, (), None)

    def hush(self) -> None:
        """Hear a champion no more that own models have no room beside."""
        if self.learner.silent:
            self.blend.silent = self.learner.names.index(CHAMPION)

    def _adapt(self, causes: list[Cause], reasons: list[str], rows: Rows, new: tuple[str, ...]) -> None:
        before = self.learner.own
        names = self.learner.names
        self.learner.adapt(self.row, rows, int(rows[0]) if "error" in causes else None)
        self.hush()
        held = dict(zip(names, self.blend.losses, strict=True))
        mean = float(self.blend.weights @ self.blend.losses)
        self.blend.losses = np.array([held.get(name, mean) for name in self.learner.names])
        self.alarm, self.last_look, self.watched_from = False, self.row, self.absorbed
        self.trail.grown += 1
        self._enter(causes, reasons, rows, new, before)

    def _enter(self, causes: list[Cause], reasons: list[str], rows: Rows, new: tuple[str, ...], before: object) -> None:
        own = self.learner.own
        assert own is not None
        old = getattr(before, "attention", None)
        made = Adaptation(
            number=len(self.trail.adaptations),
            row=self.row,
            causes=tuple(causes),
            reasons=tuple(reasons),
            first=int(rows[0]),
            last=int(rows[-1]),
            rows=len(rows),
            attention_before="" if old is None else old.id,
            attention=own.attention.id,
            moved=moved(old, own.attention),
            plans_before={name: plan.id for name, plan in getattr(before, "plans", {}).items()},
            plans={name: plan.id for name, plan in own.plans.items()},
            carried=round(self.learner.carried, 6),
            classes=new,
            predicted=self.learner.cost,
            weights={w.feature: w.weight for w in own.attention.weights},
        )
        self.trail.adaptations.append(made)
        self._decided(made, own.attention, {str(name): plan for name, plan in own.plans.items()})
        self._say(told(made))

    def _frozen(self) -> Shaped[np.ndarray, " rows"]:
        """What the champion, or else the first own models in even shares, say of every row from the first scored one on."""
        stream = self.stream
        says = np.full(stream.rows, np.nan if stream.numeric else -1.0)
        for start in range(self.begin, stream.rows, CHUNK):
            block = range(start, min(stream.rows, start + CHUNK))
            said = dict(zip(self.learner.names, self.learner.predict(block), strict=True))
            kept = [said[CHAMPION]] if CHAMPION in said else [p for name, p in said.items() if name != PERSISTENCE]
            mean = np.mean(kept, axis=0)
            says[block.start : block.stop] = mean if stream.numeric else mean.argmax(axis=1)
        return says


def told(made: Adaptation) -> str:
    """One line for who watches."""
    moved_by = (
        ""
        if not made.attention_before
        else f"; attention moved by {made.moved:.0%}, {made.carried:.0%} of the network stayed"
    )
    return f"adapt     row {made.row + 1}: {'; '.join(made.reasons)}{moved_by}"


def moved(old: Attention | None, new: Attention) -> float:
    """Total variation over the features of either; a feature that one lacks weighs nothing there."""
    if old is None:
        return 0.0
    a, b = ({w.feature: w.weight for w in attention.weights} for attention in (old, new))
    return round(sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in {*a, *b}) / 2, 9)


def conclude(run: Run, snapshot_sha256: str, champion: int | None) -> Adapted:
    """What it came to.

    Args:
        run: all of whose rows were predicted.
        snapshot_sha256: of the stream's file.
        champion: the version that it began with.
    """
    stream, trail, config = run.stream, run.trail, run.config
    own = run.learner.own
    assert own is not None
    begin, window = run.begin, config.adapt.window
    at = points(begin, stream.rows, window)
    known = np.zeros(stream.rows, bool)
    known[stream.arrivals.rows] = True
    experts = tuple(name for name in ORDER if name in trail.lost)
    says = {
        ADAPTED: trail.says[ADAPTED],
        NEVER: trail.says[NEVER],
        PERSISTENCE: again(stream),
        "mean" if stream.numeric else "majority": usual(stream),
        **{f"{name} alone": trail.says[name] for name in experts if name != PERSISTENCE},
    }
    contenders = []
    for name, said in says.items():
        lost = losses(stream, said)
        if name.endswith(" alone"):
            lost = np.where(np.isnan(trail.lost[name.removesuffix(" alone")]) & known, np.nan, lost)
        if not np.isnan(lost[begin:]).all():  # an expert may have come too late to say anything
            contenders.append(contender(name, lost, begin, window, at, numeric=stream.numeric))
    ends = np.array(sorted(trail.shares))
    nearest = [trail.shares[int(ends[min(len(ends) - 1, np.searchsorted(ends, row))])] for row in at]
    scored = int(known[begin:].sum())
    return Adapted(
        target=stream.target,
        metric="rmse" if stream.numeric else "accuracy",
        snapshot_sha256=snapshot_sha256,
        settings=config.digest("adapt", "data", "envelope", "training", "attention", "scoring", "monitor", "seed"),
        start="cold" if champion is None else "champion",
        champion=champion,
        rows=stream.rows,
        begin=begin,
        scored=scored,
        skipped=stream.rows - begin - scored,
        late=sum(len(a.classes) for a in trail.adaptations),
        window=window,
        at=tuple(int(row) for row in at),
        contenders=tuple(contenders),
        shares={name: tuple(float(np.float32(s.get(name, 0.0))) for s in nearest) for name in experts},
        adaptations=tuple(trail.adaptations),
        grown=trail.grown,
        seconds=round(trail.seconds, 3),
        row_s=float(f"{trail.seconds / max(1, stream.rows - begin):.6g}"),
        classes=stream.classes,
        attention=own.attention,
        notes=tuple(run.learner.notes),
    )
