"""The values that cross stages, from what the features are worth to what the model is.

Each value holds the one it was made from, so that one JSON document (`abi.documents`) is enough to go on from any stage::

    Problem  what is to be learned from which snapshot (`abi.problem`)
    `- Checks      what the data checks found
    `- Scores      what each feature is worth
       `- Attention   weights on the simplex
          `- Plan        the envelope divided
             `- Trained     the model that the plan became
                `- Evaluation  what it is worth on held-out data, beside its controls
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from abi.frequency import Selection
from abi.problem import Problem
from abi.trees_capacity import Pair, TreesCapacity
from abi.values import Floats, Late, LateFlag, Value

Allocation = Literal["attention", "even"]
Family = Literal["network", "trees", "blend", "mixture"]
Balancing = Literal["class_balanced", "logit_adjusted", "resampled"]
"""How training weighs frequent and rare classes, where it does (`abi.training.balance`)."""


@dataclass(frozen=True, kw_only=True)
class Estimate(Value):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class FeatureScore(Value):
    """One feature's importance and its terms, each in [0, 1].

    `low` and `high` bound the score (95%, delete-a-group jackknife); `null` is the relevance that a shuffled target
    reaches (its 95% point), `p_value` how often a shuffled target does as well. `beside` is the p-value of what a feature that
    tells nothing alone tells beside those that do, None for these; it carries signal by one or the other. `curve` is what a
    trained model showed: the share of the feature's effect that its best 1, 2, .. dimensions had; `share` the feature's part of
    the model's own importance, on the simplex; `ablation` what its shuffling adds to the validation loss.
    """

    feature: str
    relevance: float
    discrimination: float
    redundancy: float
    complexity: float
    score: float
    low: float
    high: float
    null: float
    p_value: float
    carries_signal: bool
    curve: tuple[float, ...] = ()
    share: Late[float | None] = None
    ablation: Late[Estimate | None] = None
    beside: Late[float | None] = None

    @property
    def only_beside(self) -> bool:
        """Whether it tells something beside other features alone."""
        return self.carries_signal and self.beside is not None


@dataclass(frozen=True, kw_only=True)
class TermScores(Value):
    """The terms of a text column, the most frequent first: in how many training rows each stands, and its score in [0, 1].

    `texts` is how many rows were read. `errors` are standard errors of the scores. `tail` are weights on the simplex, what the
    terms selected for tail classes tell of these (`abi.scoring.selection`); empty where none was. Numbers are packed in JSON.
    """

    feature: str
    texts: int
    terms: tuple[str, ...]
    rows: Floats
    scores: Floats
    errors: Floats
    tail: Late[Floats] = ()


@dataclass(frozen=True, kw_only=True)
class Scores(Value):
    """Scores of all features, in schema order. `source` is "model" where a trained model was asked.

    `tail` says what is selected for each class of the tail, the rarest first, where that was asked for.
    """

    problem: Problem
    source: Literal["data", "model"]
    rows: int
    features: tuple[FeatureScore, ...]
    round: int = 0
    terms: tuple[TermScores, ...] = ()
    tail: Late[tuple[Selection, ...]] = ()

    def terms_of(self, feature: str) -> TermScores:
        """The terms of that text column."""
        return next(t for t in self.terms if t.feature == feature)


@dataclass(frozen=True, kw_only=True)
class Trial(Value):
    """One candidate that was tried on validation data. `temperature` is None for the even split.

    A `frugal` one gives features without signal nothing, lets rare values of a category share rows, and grades the
    terms of a text by their scores; a `pruned` one besides starts with a larger network and drops weights in training. A
    `blended` one has scores of the fitted blend, a `lean` one few ensemble members whose encoders learn faster. `gain` is by how much less validation loss it had than the candidate that
    was preferred before it (mean over rows, in the loss's unit), `error` the standard error of that.
    """

    temperature: float | None
    loss: float
    metric: float | None
    frugal: bool = False
    pruned: bool = False
    blended: bool = False
    lean: LateFlag = False
    gain: Late[float | None] = None
    error: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class Usage(Value):
    """How much the flat split's short-trained model used each feature: shares on the simplex, in schema order.

    `heard` are the features that it was given.
    """

    shares: tuple[float, ...]
    heard: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreBlend(Value):
    """How much relevance, discrimination and complexity count in a score, fitted to what a short-trained model showed.

    `divergence` is the Kullback-Leibler divergence (nats) from the model's own importance to the softmax of the blended
    scores at its best temperature, `divergence_default` the same with the settings' blend.
    """

    relevance: float
    discrimination: float
    complexity: float
    divergence: float
    divergence_default: float


@dataclass(frozen=True, kw_only=True)
class Weight(Value):
    """Attention of one feature. `low` and `high` follow the interval of its score."""

    feature: str
    weight: float
    low: float
    high: float
    bound: Literal["floor", "cap"] | None = None


@dataclass(frozen=True, kw_only=True)
class TreesAttention(Value):
    """The trees' own attention where a network is trained beside them: fitted by the trees' own short trainings.

    `statistics` says whether categories with many values go in as target statistics rather than as themselves, `pairs`
    which of them do so two by two as well; `treatments` are the trials of the even split that decided it, `tried_pairs` what the
    last of them had. `features` are what the trees of a blend showed, where attention has the network's scores.
    """

    temperature: float | None
    weights: tuple[Weight, ...]
    trials: tuple[Trial, ...] = ()
    statistics: bool = False
    blend: ScoreBlend | None = None
    treatments: Late[tuple[Trial, ...]] = ()
    usage: Late[Usage | None] = None
    features: Late[tuple[FeatureScore, ...]] = ()
    pairs: Late[tuple[Pair, ...]] = ()
    tried_pairs: Late[tuple[Pair, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Inherited(Value):
    """Attention's prior from another domain's model.

    `prior` are weights on the simplex, in schema order: the source's on the matched features, what the scores ask for on
    the others. `share` is how much of the prior was taken, chosen among `shares` by `trials` on validation rows.
    """

    source: str
    matched: tuple[str, ...]
    prior: tuple[float, ...]
    shares: tuple[float, ...]
    trials: tuple[Trial, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class BalanceTrial(Value):
    """A short training of the even split; `method` None weighs rows alike.

    `metric` is the run's, `gain` by how much better it was than without balancing, `error` the standard error of that over
    resampled validation rows.
    """

    method: Late[Balancing | None] = None
    metric: float | None
    gain: Late[float | None] = None
    error: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class ClassBalance(Value):
    """How frequent and rare classes are weighed, and why; `trials` are there where validation rows decided it."""

    method: Late[Balancing | None] = None
    trials: Late[tuple[BalanceTrial, ...]] = ()
    reason: str


@dataclass(frozen=True, kw_only=True)
class Attention(Value):
    """Weights on the simplex, a = softmax(score / temperature), balanced by a floor and a cap.

    `entropy` is in nats; `moved` the total variation distance to the round before (0 in the first). `blend` is there where
    the weights are of scores with a fitted blend; `scores` stay as the data gave them. `usage` is what a blend is fitted to.
    `inherited` is there where the run started from another domain's model, `balance` where it was asked or tried how classes
    are weighed. `tail` is the share of the weights, and of those of terms, that lies on what is selected for tail classes.
    A `lean` split is trained by `abi.planning.starting`'s lean recipe.
    """

    scores: Scores
    temperature: float | None
    floor: float
    cap: float
    entropy: float
    weights: tuple[Weight, ...]
    trials: tuple[Trial, ...] = ()
    round: int = 0
    moved: float = 0.0
    trees: TreesAttention | None = None
    frugal: bool = False
    pruned: bool = False
    blend: ScoreBlend | None = None
    usage: Late[Usage | None] = None
    inherited: Late[Inherited | None] = None
    balance: Late[ClassBalance | None] = None
    tail: Late[float | None] = None
    lean: LateFlag = False

    @property
    def even(self) -> bool:
        """Whether nothing is to be divided otherwise than evenly."""
        inherits = self.inherited is not None and self.inherited.share > 0
        return self.temperature is None and not self.frugal and self.round == 0 and not inherits

    @property
    def effective(self) -> float:
        """Effective number of features: so many even weights have this entropy."""
        return round(math.exp(self.entropy), 6)


@dataclass(frozen=True, kw_only=True)
class Envelope(Value):
    """What may be spent; None is no limit. Memory is of each device, `cost` in the currency of the device's price."""

    parameters: int | None = None
    memory_bytes: int | None = None
    train_time_s: float | None = None
    latency_s: float | None = None
    energy_j: Late[float | None] = None
    cost: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class FeatureCapacity(Value):
    """What one feature was given; width 0 is nothing.

    `bins` are piecewise-linear bins (numeric), `rows` embedding rows (categorical: one per value, or per term of a text).
    `shared` are the rows that all other values of a category share by their profile. Of a text's table (`rows` x
    `width`) only `entries` cells are parameters; training starts with `start_entries` and drops the least useful ones.
    `decay` multiplies the weight decay of what reads the feature's embedding. A region's embedding is added to those of
    the other regions of `grid`, its media column; its width is channels of the last stage. A text that is read as a
    sequence is read for so many words (`length`).
    """

    feature: str
    width: int
    bins: int
    rows: int
    parameters: int
    reason: str
    shared: int = 0
    entries: int = 0
    start_entries: int = 0
    decay: float = 1.0
    grid: Late[str | None] = None
    length: Late[int | None] = None


@dataclass(frozen=True, kw_only=True)
class GridCapacity(Value):
    """The size of a media column's encoder, whose weights all of its regions share.

    `base` are the channels of its first stage, `parameters` all of its weights, `macs` the multiply-accumulates of one
    row with the regions' widths as they are, `activations` the numbers that all layers give at full width. A prediction looks at
    `views` of a picture, at one where None.
    """

    column: str
    base: int
    parameters: int
    macs: int
    activations: int
    views: Late[int | None] = None

    @property
    def predicted_macs(self) -> int:
        """Multiply-accumulates of one row when it is predicted."""
        return self.macs * (self.views or 1)


@dataclass(frozen=True, kw_only=True)
class LayerSplit(Value):
    """Parameters of each part of the network."""

    feature_extraction: int
    middle: int
    output: int


@dataclass(frozen=True, kw_only=True)
class Pruning(Value):
    """What training leaves of a network that starts larger: it drops the least useful weights until no more are left.

    `parameters` are those of the whole network, `macs` the multiply-accumulates of one row's way through the backbone;
    dropped weights count as neither.
    """

    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Capacity(Value):
    """The size of the model: widths per feature, then the backbone: `members` ensemble views of `blocks` x `block_width`.

    With `pruning` it is the size that training starts with, and training decides which weights stay. Where there are no
    blocks, the embeddings' dimensions may be dealt out by turns to so many `slices`, each with a head of its own. With late
    `fusion` each member reads one modality alone, as many of them as attention gives it (`abi.families.modalities`).
    """

    features: tuple[FeatureCapacity, ...]
    members: int
    blocks: int
    block_width: int
    layers: LayerSplit
    pruning: Pruning | None = None
    grids: Late[tuple[GridCapacity, ...]] = ()
    fusion: Late[Literal["", "late"]] = ""
    slices: Late[int | None] = None

    @property
    def empty(self) -> bool:
        """Whether there is no network at all."""
        return not self.features


NO_NETWORK = Capacity(
    features=(),
    members=0,
    blocks=0,
    block_width=0,
    layers=LayerSplit(feature_extraction=0, middle=0, output=0),
)
"""What the plan of trees alone has in place of a network's size."""


@dataclass(frozen=True, kw_only=True)
class Hardening(Value):
    """How training makes the network bear changed inputs, all on its embeddings.

    `mixup` is alpha of the Beta distribution that rows are mixed by, `remix` whether labels of rare classes then count for
    more (`abi.training.mixing`); `corruption` the share of a row's features that other
    rows' values take the place of; `missing` the share that is missing. `adversarial` steps have `size`, a share of the
    embeddings' norm, PGD takes `steps` of them; their loss has a `share` of the whole.
    """

    mixup: float = 0.0
    corruption: float = 0.0
    missing: float = 0.0
    adversarial: Literal["fgsm", "pgd"] | None = None
    size: float = 0.1
    steps: int = 1
    share: float = 0.5
    remix: Late[bool | None] = None

    @property
    def passes(self) -> float:
        """Times a plain step: an attack goes forward and back to the embeddings alone, which is two thirds of one."""
        if self.adversarial is None:
            return 1.0
        return (1.0 if self.share < 1 else 0.0) + 1.0 + self.steps * 2 / 3


@dataclass(frozen=True, kw_only=True)
class Alignment(Value):
    """The contrastive loss between modalities: its `weight` beside the members' loss, and what similarities are divided by."""

    weight: float
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Execution(Value):
    """How it is trained: one step takes `batch_rows` rows.

    `learning_rate` is AdamW's peak, `encoder_factor` the encoders' rate over that, `average` the decay of the moving
    average of the weights (0 is none), `patience` epochs without a better validation loss, `term_dropout` the share of
    a text's terms that a step leaves out, `modality_dropout` that of whole modalities, `smoothing` that of the labels. Where
    memory asks for it, a step adds up the gradients of parts of `micro_batch` rows. `balance` says how rare classes are
    weighed, where they are, `alignment` how modalities are aligned. In the first `half_size` of the schedule images are
    seen at half their size.
    """

    device: str
    precision: Literal["float32", "bfloat16"]
    batch_rows: int
    epochs: int
    steps: int
    threads: int
    learning_rate: float = 2e-3
    encoder_factor: float = 1.0
    weight_decay: float = 0.0
    dropout: float = 0.1
    average: float = 0.0
    patience: int = 16
    term_dropout: float = 0.0
    smoothing: float = 0.0
    micro_batch: Late[int | None] = None
    modality_dropout: Late[float | None] = None
    balance: Late[Balancing | None] = None
    hardening: Late[Hardening | None] = None
    alignment: Late[Alignment | None] = None
    half_size: Late[float | None] = None

    @property
    def passes(self) -> float:
        """How many times a plain step's work a step is."""
        return 1.0 if self.hardening is None else self.hardening.passes

    @property
    def part_rows(self) -> int:
        """Rows that are computed at a time."""
        return self.micro_batch or self.batch_rows


@dataclass(frozen=True, kw_only=True)
class Cost(Value):
    """What a plan costs: predicted before, measured after. Memory is what training adds to the process.

    `macs` are the multiply-accumulates of one row, where there are pictures, whose regions share their weights.
    """

    parameters: int
    memory_bytes: int
    train_time_s: float
    latency_s: float
    macs: Late[int | None] = None


@dataclass(frozen=True, kw_only=True)
class Plan(Value):
    """The envelope divided. `allocation` "even" is the uniform control.

    `family` "auto" trains both families and decides on validation rows; `capacity` is `NO_NETWORK` where there are
    only trees, `trees` None where there is only a network. Where there are both, `parts` says what each would cost alone.
    `bound` is what the limits were held against, where earlier runs taught a margin over predictions, or a trace gave one.
    `execution_plan` is how the network is run on the devices that were asked for (`abi.planning.on_devices`).
    """

    attention: Attention
    envelope: Envelope
    allocation: Allocation
    capacity: Capacity
    execution: Execution
    predicted: Cost
    reasons: tuple[str, ...]
    family: Literal["network", "trees", "blend", "auto"] = "network"
    trees: TreesCapacity | None = None
    parts: dict[Family, Cost] | None = None
    bound: Late[Cost | None] = None
    execution_plan: Late[dict[str, Any] | None] = None
