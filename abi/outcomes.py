"""The values that say how it went: what a training became, what it is worth on held-out data, under which conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from abi.frequency import ClassGroups, Lean
from abi.resources import Resources, StepProfile
from abi.robustness import Robustness
from abi.types import Attention, Cost, Estimate, Family, LayerSplit, Plan
from abi.values import Late, Value


@dataclass(frozen=True, kw_only=True)
class Epoch(Value):
    """One line of the training history. `metric` is the primary one on validation rows, None where it is not defined.

    Of trees, an epoch is a round of boosting; their training loss and metric are not computed.
    """

    epoch: int
    train_loss: float | None
    validation_loss: float
    metric: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TermWidth(Value):
    """A term of a text column, its score from the data, and the width that training left it."""

    feature: str
    term: str
    score: float
    width: int


@dataclass(frozen=True, kw_only=True)
class Candidate(Value):
    """One family that was trained: its validation loss, and what it costs.

    `row_loss` is the mean over validation rows in the loss's own unit, `behind` by how much it is above the least of the
    candidates, `error` the standard error of that.
    """

    family: Family
    loss: float
    metric: float | None
    cost: Cost
    row_loss: Late[float | None] = None
    behind: Late[float | None] = None
    error: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class Choice(Value):
    """Which family was kept, and why. `weight` is the network's share of a blend (1 network alone, 0 trees alone).

    `obstacle` says why there was no blend.
    """

    candidates: tuple[Candidate, ...]
    weight: float
    reason: str
    obstacle: Late[str] = ""


@dataclass(frozen=True, kw_only=True)
class Tried(Value):
    """What the uniform control was chosen from: validation losses of its pilots and of its trainings, in order."""

    pilots: tuple[float, ...]
    trainings: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Revision(Value):
    """What training changed about its plan when memory ran out, and after which epoch it went on."""

    epoch: int
    micro_batch_before: int
    micro_batch: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Begun(Value):
    """One way to begin a training, cold or from another model, and what came of it on validation rows."""

    artifact: str
    loss: float
    metric: float | None


@dataclass(frozen=True, kw_only=True)
class Transfer(Value):
    """A training from another domain's model beside one from nothing: same plan, schedule and seed.

    `source` is the registered model, `artifact` the SHA-256 of its weights; `features`, `terms`, `layers`, `outputs` and
    `parameters` are what was carried over. `gain` is by how much less validation loss the warm one has (paired, in the
    loss's unit; above zero it helped), and the better one was kept. Where nothing could be carried over, `obstacle` says why.
    """

    source: str
    artifact: str
    features: tuple[str, ...]
    terms: int
    layers: int
    outputs: int
    parameters: int
    cold: Begun
    warm: Begun
    gain: Estimate
    kept: Literal["cold", "warm"]
    obstacle: str = ""


@dataclass(frozen=True, kw_only=True)
class Refit(Value):
    """A plan trained once more, on the rows of training and validation together, as long as validation had found best.

    `judged` is the artifact that the validation rows judged, `attention` what its weights had moved to and `parameters` its
    own; `rows` were learned from, over `epochs` (of trees, rounds of boosting).
    """

    judged: str
    attention: tuple[float, ...]
    parameters: int
    rows: int
    epochs: int
    train_time_s: float


@dataclass(frozen=True, kw_only=True)
class Retrieval(Value):
    """How often a row of one modality is nearest to its own in the other one, among `batch_rows` validation rows.

    `accuracy` is the mean of both ways over `rows` that have both; 1 / `batch_rows` is chance.
    """

    modalities: tuple[str, str]
    accuracy: float
    batch_rows: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Trained(Value):
    """A trained model. `artifact` is the SHA-256 of its weights file; `attention` what the weights moved to in training.

    `choice` is there where two families were trained. Trees have a line of `history` per round of boosting. Where the plan
    prunes, `kept` are the parameters that training left each feature (its encoder's, and its columns in the layer above)
    and `layers` those that it left each part of the network. `tried` is there where it is the uniform control, `revisions`
    where memory ran out on the way. `resources` are what it took besides; `profile` says where memory and time of a step
    of the network went, where that was asked for. `transfer` is there where the run started from another model. With a
    `refit`, `artifact` and `attention` are those of the model that learned from all rows; all else was found before it.
    `retrieval` says of each pair of modalities what their alignment reached, where the plan asks for one. Where the clock
    shortened a network's schedule, `share` is how much of it was done at the end of the best epoch.
    """

    plan: Plan
    seed: int
    artifact: str
    best_epoch: int
    stopped: Literal["finished", "early", "time"]
    loss: float
    metric: float | None
    measured: Cost
    attention: tuple[float, ...]
    history: tuple[Epoch, ...]
    terms: tuple[TermWidth, ...] = ()
    family: Family = "network"
    choice: Choice | None = None
    kept: tuple[int, ...] = ()
    layers: LayerSplit | None = None
    tried: Late[Tried | None] = None
    revisions: Late[tuple[Revision, ...]] = ()
    resources: Late[Resources | None] = None
    profile: Late[StepProfile | None] = None
    transfer: Late[Transfer | None] = None
    refit: Late[Refit | None] = None
    retrieval: Late[tuple[Retrieval, ...]] = ()
    share: Late[float | None] = None

    @property
    def judged(self) -> Trained:
        """As validation rows judged it, before any refit."""
        again = self.refit
        if again is None:
            return self
        cost = replace(self.measured, parameters=again.parameters)
        return replace(self, artifact=again.judged, attention=again.attention, measured=cost, refit=None)

    @property
    def predicted(self) -> Cost:
        """What the plan said that a model of this family costs."""
        return (self.plan.parts or {}).get(self.family, self.plan.predicted)


@dataclass(frozen=True, kw_only=True)
class Gain(Value):
    """Paired difference on the same rows; above zero means that the model is better. `relative` is to the other's value.

    Where that is zero, so is `relative`, whatever the difference.
    """

    metric: str
    difference: Estimate
    relative: float

    @property
    def of_zero(self) -> bool:
        """Whether the other's value is zero, so that no share of it says by how much they differ."""
        return not self.relative and self.difference.value != 0


@dataclass(frozen=True, kw_only=True)
class Slice(Value):
    """Quality on the rows where `feature` is in `group`."""

    feature: str
    group: str
    rows: int
    metric: Estimate


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(Value):
    """Mean predicted and observed value of one bin of predictions (binary: probability of the positive class)."""

    predicted: float
    observed: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Calibration(Value):
    """Reliability curve and its weighted mean gap (expected calibration error)."""

    bins: tuple[CalibrationBin, ...]
    error: float


@dataclass(frozen=True, kw_only=True)
class Control(Value):
    """What the model was compared with. `trials` is how many trainings it was the best of."""

    name: Literal["uniform", "baseline"]
    description: str
    metrics: dict[str, Estimate]
    gain: Gain
    parameters: int
    trials: int
    train_time_s: float


@dataclass(frozen=True, kw_only=True)
class Signal(Value):
    """Whether held-out rows show that the model knows more than the training rows' target alone.

    `chance` is the metric of that constant prediction (the mean, or the classes' shares), `gain` the model's over it.
    """

    chance: float
    gain: Gain

    @property
    def found(self) -> bool:
        """Whether the interval of the gain leaves chance out."""
        return self.gain.difference.low > 0


@dataclass(frozen=True, kw_only=True)
class Ranking(Value):
    """How a user's held-out rows are ranked, the mean over `users` that have a relevant row and another.

    A row is relevant from `threshold` on. `controls` are the same metrics of the uniform control and the baseline.
    """

    threshold: float
    users: int
    metrics: dict[str, Estimate]
    controls: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Along(Value):
    """A model that followed a stream: its figures are prequential, of rows that were each predicted before they were learned from.

    `champion` is the version that the stream began with (None: cold), `begin` the first scored row, `adaptations` how many
    decisions were made on the way. `gain` is over what the stream began with, left as it was, on the same rows; `baseline` over
    the last label once more.
    """

    champion: int | None
    begin: int
    adaptations: int
    gain: Gain
    baseline: Gain


@dataclass(frozen=True, kw_only=True)
class Evaluation(Value):
    """What the kept model is worth on held-out data; `robustness` is what changed inputs do to it, where that was asked for.

    `transfer` is the gain of the training from another model over the one from nothing, where there were both. `signal` is
    not there in evaluations of before there was any; `groups` are the classes by their training rows, where these differ,
    `leans` what tells the rarest of them. `along` is there where the rows are those of a stream; there are no controls,
    slices and calibration then.
    """

    trained: Trained
    rows: int
    primary: str
    metrics: dict[str, Estimate]
    controls: tuple[Control, ...]
    slices: tuple[Slice, ...]
    calibration: Calibration | None
    latency_s: float
    trials: int
    robustness: Late[Robustness | None] = None
    transfer: Late[Gain | None] = None
    signal: Late[Signal | None] = None
    groups: Late[ClassGroups | None] = None
    ranking: Late[Ranking | None] = None
    leans: Late[tuple[Lean, ...]] = ()
    along: Late[Along | None] = None

    @property
    def measured(self) -> Cost:
        """What the model came to; the time of a prediction is that of held-out rows, and not of the training's end."""
        return replace(self.trained.measured, latency_s=self.latency_s)

    def control(self, name: str) -> Control:
        """The control of that name."""
        return next(c for c in self.controls if c.name == name)


@dataclass(frozen=True, kw_only=True)
class Source(Value):
    """The registered model of another domain that a run starts from."""

    uri: str
    trained: Trained


@dataclass(frozen=True, kw_only=True)
class Convergence(Value):
    """How much was still moving when a round ended.

    `movement` is the total variation from the round's attention to where its model would move it, `plan_change` the share
    of widths (of trees: contributions) that the next plan would move; `converged` where either is below its tolerance.
    """

    movement: float
    plan_change: float
    converged: bool


@dataclass(frozen=True, kw_only=True)
class Move(Value):
    """What followed a round: where attention moves next, whether another round is trained, and why (not)."""

    trained: Trained
    attention: Attention
    continues: bool
    reason: str
    convergence: Convergence | None = None


@dataclass(frozen=True, kw_only=True)
class Conditions(Value):
    """What the decisions of a run rest on beside the data: with them and the recorded values each can be made again.

    `settings` are those that a model depends on, `machine` the constants that costs were predicted from
    (`abi.planning.machine`), `code` the id of the code, `libraries` the versions of those that compute.
    """

    settings: dict[str, Any]
    machine: dict[str, Any]
    train_rows: int
    validation_rows: int
    code: str
    libraries: dict[str, str]
