"""The arms of the balance benchmark: each divides the same number of parameters in its own way.

Every arm chooses among its trials by validation loss: of tables 7 for uniform, abi (whose rescored one trains twice) and
top-k, 4 for mixed (which on ids is the even split where no width but 1 fits) and 3 for magnitude; of text 4 for uniform and
top-k, 2 for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from balance_prune import pruned
from balance_sets import Rows

from abi.attention.fit import fit, move
from abi.config import Config, load_config
from abi.data.columns import Columns
from abi.errors import PlanInfeasible
from abi.families.artifact import Model
from abi.families.sizes import multiply_accumulates
from abi.metrics import LOWER_IS_BETTER, primary_metric
from abi.metrics import score as metrics_of
from abi.planning.cost import parameters, total_width
from abi.planning.machine import Machine
from abi.planning.plan import make_plan
from abi.planning.starting import LEAN_FACTOR
from abi.training.fitted import Fitted
from abi.training.loop import train
from abi.training.rescore import rescore
from abi.types import Attention, Envelope, Plan, Pruning, Scores

STEEP = 0.4
"""Temperature of a steeper split; the even split is that of an infinite one."""
FEW_MEMBERS: dict[str, object] = {"training.members": 4}
FAST: dict[str, object] = {"training.encoder_factor": LEAN_FACTOR}
LEAN = {**FEW_MEMBERS, **FAST}
"""As attention's lean split is trained."""
ONE_LAYER: dict[str, object] = {"training.blocks": 1}
RECIPES = {"few members": FEW_MEMBERS, "few members, rate x2": LEAN, "rate x2": FAST}
"""How top-k and mixed train their best split besides."""
FEWER = (0.75, 0.5, 0.25, 0.1)
"""Shares of the features (or terms) that top-k keeps."""
FREQUENCY = (0.3, 0.6)
"""Exponents of mixed dimensions by frequency (Ginart et al. 2019, their alpha)."""


@dataclass(frozen=True)
class Point:
    """One trained model: what it cost, and its quality (higher is better) on test rows.

    `macs` are multiply-accumulates of a row through the backbone, without weights that are zero; `searched_s` the seconds
    that choosing the trial took.
    """

    parameters: int
    macs: int
    bytes: int
    validation_loss: float
    metric: float
    trial: str
    searched_s: float


@dataclass(frozen=True)
class Trial:
    """A way to divide the budget: named, so that other seeds can repeat it."""

    name: str
    fit: Callable[[int], tuple[Model, float]]
    """Seed -> model and validation loss."""


Trials = Generator[Trial, float, None]
"""Trials one after another; each is answered with its validation loss, infinite where it does not fit."""


class Arms:
    """All arms on one set of rows."""

    def __init__(self, rows: Rows, machine: Machine, settings: dict[str, object]) -> None:
        self.rows, self.machine, self.settings = rows, machine, settings
        self.schema = rows.problem.schema
        self.text = any(f.kind == "text" for f in self.schema.features)
        self.ids = any(f.kind == "categorical" and f.distinct > 128 for f in self.schema.features)

    def trials(self, arm: str, budget: int, seed: int) -> Trials:
        """The trials of an arm."""
        scores = self.rows.scores
        if arm == "uniform":
            for name, changed in self._variants():
                yield from self._planned(name, fit(scores, None, self.rows.config.attention), budget, "even", changed)
        elif arm in ("abi", "abi-no-rescoring"):
            yield from self._abi(scores, budget, rescored=arm == "abi")
        elif arm == "random":
            yield from self._misled(shuffled(scores, seed), budget)
        elif arm == "inverted":
            yield from self._misled(inverted(scores), budget)
        elif arm == "top-k":
            yield from self._top(budget)
        elif arm == "mixed":
            yield from self._mixed(budget)
        elif arm == "magnitude":
            yield from self._magnitude(budget)

    def point(self, model: Model, loss: float, name: str, searched_s: float) -> Point:
        """What a model is worth on test rows."""
        test, capacity = self._columns_of(model), model.blueprint.capacity
        task = self.schema.task
        assert test.target is not None
        metric = primary_metric(task)
        value = metrics_of(task, test.target, model.predict_columns(test))[metric]
        weights = dict(model.network.named_parameters())
        magnitude = name == "one cut"
        return Point(
            parameters=sum(int((p != 0).sum()) for p in weights.values()) if magnitude else model.parameters,
            macs=sum(
                int((p != 0).sum()) * (capacity.members if n.startswith("layers") else 1)
                for n, p in weights.items()
                if n.endswith("weight") and n.startswith(("layers", "head"))
            ),
            bytes=sum(len(content) for content in model.files().values()),
            validation_loss=loss,
            metric=-value if metric in LOWER_IS_BETTER else value,
            trial=name,
            searched_s=round(searched_s, 1),
        )

    def _columns_of(self, model: Model) -> Columns:
        """The test rows with the features that the model was trained on."""
        names = {f.name for f in model.blueprint.schema.features}
        kept = [i for i, f in enumerate(self.schema.features) if f.name in names]
        return _subset(self.rows.scores, kept)[1](self.rows.test)

    def _variants(self) -> list[tuple[str, dict[str, object]]]:
        """As many ways to train an even split as ABI has to divide the budget."""
        if self.text:
            return [
                ("as is", {}),
                ("rate 1e-2", {"training.learning_rate": 1e-2}),
                ("rate 4e-2", {"training.learning_rate": 4e-2}),
                ("short", {"training.epochs": 15}),
            ]
        return [
            ("as is", {}),
            ("few members", FEW_MEMBERS),
            ("one layer", ONE_LAYER),
            ("few members, one layer", {**FEW_MEMBERS, **ONE_LAYER}),
            ("few members, rate x2", LEAN),
            ("rate x2", FAST),
            ("few members, one layer, rate x2", {**LEAN, **ONE_LAYER}),
        ]

    def _plan(self, attention: Attention, budget: int, allocation: str, config: Config) -> Plan:
        return make_plan(
            attention,
            Envelope(parameters=budget),
            config,
            self.machine,
            allocation=allocation,  # type: ignore[arg-type]  # "even" or "attention"
            train_rows=len(self.rows.train),
            validation_rows=len(self.rows.validation),
        )

    def _planned(
        self,
        name: str,
        attention: Attention,
        budget: int,
        allocation: str = "attention",
        changed: dict[str, object] | None = None,
        change: Callable[[Plan], Plan] = lambda plan: plan,
        columns: Callable[[Columns], Columns] = lambda columns: columns,
    ) -> Generator[Trial, float, float]:
        config = load_config(settings={**self.settings, **(changed or {})}, ambient=False)
        try:
            plan = change(self._plan(attention, budget, allocation, config))
        except PlanInfeasible:
            return np.inf

        def trained(seed: int) -> tuple[Model, float]:
            fitted = train(plan, columns(self.rows.train), columns(self.rows.validation), config, seed=seed)
            return fitted.model, fitted.trained.loss

        return (yield Trial(name, trained))

    def _abi(self, scores: Scores, budget: int, *, rescored: bool) -> Trials:
        config = self.rows.config.attention
        yield from self._planned("even", fit(scores, None, config), budget, "even")
        frugal = yield from self._planned("frugal", fit(scores, None, config, frugal=True), budget)
        if len(self.schema.features) == 1:
            return
        loss = yield from self._planned("pruned", fit(scores, None, config, pruned=True), budget)
        name = "pruned" if loss < frugal else "frugal"
        steeper = fit(scores, STEEP, config, frugal=True, pruned=name == "pruned")
        steep = yield from self._planned(f"t {STEEP:g}, {name}", steeper, budget)
        if rescored:
            again = yield Trial(f"rescored, {name}", partial(self._rescored, steeper, budget))
            steep = min(steep, again)
        if self.text:
            return
        yield from self._planned("even, lean", fit(scores, None, config, lean=True), budget, "even")
        flat = fit(scores, None, config, frugal=True, pruned=name == "pruned", lean=True)
        lean, called = (
            (flat, name) if min(loss, frugal) <= steep else (replace(steeper, lean=True), f"t {STEEP:g}, {name}")
        )
        yield from self._planned(f"{called}, lean", lean, budget)

    def _misled(self, scores: Scores, budget: int) -> Trials:
        """The split of wrong scores, without the even one to fall back on."""
        steep = STEEP if len(self.schema.features) > 1 else None
        config = self.rows.config.attention
        frugal = yield from self._planned("frugal", fit(scores, steep, config, frugal=True), budget)
        if len(self.schema.features) > 1 and np.isfinite(frugal):
            yield from self._planned("pruned", fit(scores, steep, config, pruned=True), budget)

    def _rescored(self, attention: Attention, budget: int, seed: int) -> tuple[Model, float]:
        """Train, move attention by what the model shows, train again."""
        rows, config = self.rows, self.rows.config
        first = self._fitted(attention, budget, seed)
        scores, shares = rescore(first.model, rows.validation, attention.scores, seed=seed)
        second = self._fitted(move(attention, scores, shares, config.attention), budget, seed)
        best = min((first, second), key=lambda fitted: fitted.trained.loss)
        return best.model, best.trained.loss

    def _fitted(self, attention: Attention, budget: int, seed: int) -> Fitted[Model]:
        config = self.rows.config
        plan = self._plan(attention, budget, "attention", config)
        return train(plan, self.rows.train, self.rows.validation, config, seed=seed)

    def _top(self, budget: int) -> Trials:
        """The even split over the best features alone, of a text over its best terms; then the best of these with few members."""
        losses = {}
        for share in FEWER:
            losses[share] = yield from self._best(share, budget, {})
        if not self.text:
            best = min(losses, key=lambda share: losses[share])
            for name, changed in RECIPES.items():
                yield from self._best(best, budget, changed, name)

    def _best(
        self, share: float, budget: int, changed: dict[str, object], recipe: str = ""
    ) -> Generator[Trial, float, float]:
        scores, config = self.rows.scores, self.rows.config.attention
        name = f"top {share:.0%}{recipe and f', {recipe}'}"
        if self.text:
            few = _terms(scores, share, lambda t: np.array(t.scores))
            return (yield from self._planned(name, fit(few, None, config), budget, "even"))
        # of those without a score, first what carries signal beside others
        ranked = sorted(
            range(len(scores.features)),
            key=lambda i: (-scores.features[i].score, not scores.features[i].carries_signal),
        )
        kept = sorted(ranked[: max(1, round(share * len(ranked)))])
        problem, columns = _subset(scores, kept)
        return (yield from self._planned(name, fit(problem, None, config), budget, "even", changed, columns=columns))

    def _mixed(self, budget: int) -> Trials:
        """Widths by frequency: of terms by their rows, of fields by 1 / distinct values to the power alpha."""
        scores, config = self.rows.scores, self.rows.config.attention
        if self.text:
            for alpha in (0.5, 1.0):
                by_rows = tuple(
                    replace(t, scores=tuple(float(np.float32(r**alpha)) for r in t.rows)) for t in scores.terms
                )
                graded = fit(replace(scores, terms=by_rows), None, config, frugal=True)
                yield from self._planned(f"rows^{alpha:g}", graded, budget, change=_without_shrinking)
        if not self.ids:
            return
        losses, splits = {}, {}
        for alpha in FREQUENCY:
            sizes = np.array([f.distinct for f in self.schema.features], dtype=float)
            share = sizes**-alpha
            even, weights = fit(scores, 1.0, config), share / share.sum()
            splits[alpha] = replace(
                even, weights=tuple(replace(w, weight=float(s)) for w, s in zip(even.weights, weights, strict=True))
            )
            losses[alpha] = yield from self._planned(f"1/size^{alpha:g}", splits[alpha], budget)
        alpha = min(losses, key=lambda a: losses[a])
        for name, changed in list(RECIPES.items())[:2]:
            yield from self._planned(f"1/size^{alpha:g}, {name}", splits[alpha], budget, changed=changed)

    def _magnitude(self, budget: int) -> Trials:
        """The uniform model of the largest budget, pruned to this one.

        Once, by magnitude, and tuned on (Han et al. 2015); or gradually while it trains, in the way that ABI prunes.
        """
        config = self.rows.config
        attention = fit(self.rows.scores, None, config.attention)
        plan = self._plan(attention, self.largest, "even", config)

        def cut(seed: int) -> tuple[Model, float]:
            if seed not in self._dense:
                self._dense[seed] = train(plan, self.rows.train, self.rows.validation, config, seed=seed)
            return pruned(self._dense[seed], budget, self.rows.train, self.rows.validation)

        yield Trial("one cut", cut)
        few = {} if self.text else FEW_MEMBERS
        yield from self._planned("gradual", attention, self.largest, "even", few, change=partial(_losing, budget))
        if not self.text:
            yield from self._planned(
                "gradual, lean", attention, self.largest, "even", LEAN, change=partial(_losing, budget)
            )

    largest: int = 0
    _dense: dict[int, Fitted[Model]]

    def prepare_dense(self, largest: int) -> None:
        """Say how large the model to prune is."""
        self.largest, self._dense = largest, {}


def even_size(arms: Arms, limit: int) -> int:
    """Parameters of the even plan under `limit`."""
    plan = arms._plan(fit(arms.rows.scores, None, arms.rows.config.attention), limit, "even", arms.rows.config)
    return parameters(plan.capacity)


def least_even_size(arms: Arms, limit: int) -> int:
    """Parameters of the smallest even plan that any way to train one has, found by halving between 1 and `limit`, which fits."""
    scores, attention = arms.rows.scores, arms.rows.config.attention
    configs = [load_config(settings={**arms.settings, **changed}, ambient=False) for _, changed in arms._variants()]

    def size(budget: int) -> int | None:
        plans = []
        for config in configs:
            with suppress(PlanInfeasible):
                plans.append(arms._plan(fit(scores, None, attention), budget, "even", config))
        return min((parameters(plan.capacity) for plan in plans), default=None)

    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        found = size(middle)
        low, high = (middle, high) if found is None else (low, min(middle, found))
    return high


def shuffled(scores: Scores, seed: int) -> Scores:
    """The scores of other features, drawn at random."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(scores.features))
    features = tuple(
        replace(f, score=scores.features[j].score, carries_signal=scores.features[j].carries_signal)
        for f, j in zip(scores.features, order, strict=True)
    )
    terms = tuple(
        replace(t, scores=tuple(np.array(t.scores)[random.permutation(len(t.scores))].tolist())) for t in scores.terms
    )
    return replace(scores, features=features, terms=terms)


def inverted(scores: Scores) -> Scores:
    """The best are the worst."""
    features = tuple(replace(f, score=1 - f.score, carries_signal=True) for f in scores.features)
    terms = []
    for t in scores.terms:
        values = np.array(t.scores)
        ranked = np.empty_like(values)
        ranked[np.argsort(values)] = np.sort(values)[::-1]
        terms.append(replace(t, scores=tuple(ranked.tolist())))
    return replace(scores, features=features, terms=tuple(terms))


def _terms(scores: Scores, share: float, worth: Callable[..., np.ndarray]) -> Scores:
    kept = []
    for t in scores.terms:
        order = np.sort(np.argsort(-worth(t), kind="stable")[: max(1, round(share * len(t.terms)))])
        kept.append(
            replace(
                t,
                terms=tuple(t.terms[i] for i in order),
                rows=tuple(t.rows[i] for i in order),
                scores=tuple(t.scores[i] for i in order),
                errors=tuple(t.errors[i] for i in order),
            )
        )
    return replace(scores, terms=tuple(kept))


def _subset(scores: Scores, kept: list[int]) -> tuple[Scores, Callable[[Columns], Columns]]:
    """Scores over these features alone, and what takes their columns from rows."""
    schema = scores.problem.schema
    features = tuple(schema.features[i] for i in kept)
    problem = replace(scores.problem, schema=replace(schema, features=features))
    numeric = [i for i, f in enumerate(schema.features) if f.kind == "numeric"]
    other = [i for i, f in enumerate(schema.features) if f.kind != "numeric"]
    chosen = [numeric.index(i) for i in kept if i in numeric], [other.index(i) for i in kept if i in other]

    def columns(rows: Columns) -> Columns:
        return replace(
            rows, numeric=rows.numeric[:, chosen[0]], categorical=tuple(rows.categorical[i] for i in chosen[1])
        )

    return replace(scores, problem=problem, features=tuple(scores.features[i] for i in kept)), columns


def _losing(budget: int, plan: Plan) -> Plan:
    """The plan with all its weights to start with, and `budget` of them in the end."""
    capacity = plan.capacity
    texts = [f for f in capacity.features if f.entries]
    if not capacity.blocks:
        left = (budget - (parameters(capacity) - sum(f.entries for f in texts))) // len(texts)
        if left < 1:
            msg = "the head alone is larger"
            raise PlanInfeasible(msg)
        shrunk = tuple(replace(f, entries=min(f.entries, left)) for f in capacity.features)
        return replace(plan, capacity=replace(capacity, features=shrunk))
    macs = multiply_accumulates(total_width(capacity), capacity.members, capacity.blocks, capacity.block_width, 1)
    return replace(plan, capacity=replace(capacity, pruning=Pruning(parameters=budget, macs=macs)))


def _without_shrinking(plan: Plan) -> Plan:
    capacity = plan.capacity
    return replace(
        plan,
        capacity=replace(capacity, features=tuple(replace(f, start_entries=f.entries) for f in capacity.features)),
    )


def torch_threads(count: int) -> None:
    """Threads of all arms."""
    torch.set_num_threads(count)
