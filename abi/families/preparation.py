"""What a model learns about its inputs before training: knots, vocabularies, shared rows, terms, the target's scale."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from abi.attention.terms import tail_terms, term_weights
from abi.inputs.categorical import vocabulary
from abi.inputs.embedding import Scale, learn_scale
from abi.inputs.linear_text import Counted, LinearText, fit_texts
from abi.inputs.numeric import quantile_edges
from abi.inputs.profile import Sharing, learn
from abi.inputs.sequence import Words, learn_words
from abi.inputs.terms import count_terms, groups_of
from abi.inputs.text import graded, window
from abi.problem import Feature, Grid, Schema
from abi.types import Attention, Capacity, FeatureCapacity, GridCapacity
from abi.values import Floats, Late, Value

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns


@dataclass(frozen=True, kw_only=True)
class Lexicon(Value):
    """The terms of a text column that the model knows, with their inverse document frequency."""

    terms: tuple[str, ...]
    inverse: Floats

    @functools.cached_property
    def place(self) -> dict[str, int]:
        """Number of each term."""
        return {term: i for i, term in enumerate(self.terms)}

    @functools.cached_property
    def groups(self) -> Int64[np.ndarray, " terms"]:
        """Group of each term."""
        return groups_of(self.terms)

    @functools.cached_property
    def weights(self) -> Float32[np.ndarray, " terms"]:
        """`inverse` as an array."""
        return np.array(self.inverse, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Preparation(Value):
    """What the encoders need, from training rows alone.

    Attributes:
        edges: knots per numeric feature, in schema order; none where its width is 0.
        vocabularies: values per other feature, in schema order; none where its width is 0, or in the next two.
        sharing: categories whose values share rows, by feature.
        lexicons: texts, by feature.
        scales: of vectors of pretrained encoders.
        words: of texts that are read as sequences.
        target_mean: of the target (regression).
        target_deviation: of the target (regression).
    """

    edges: tuple[tuple[float, ...], ...]
    vocabularies: tuple[tuple[str, ...], ...]
    sharing: dict[str, Sharing] = field(default_factory=dict)
    lexicons: dict[str, Lexicon] = field(default_factory=dict)
    target_mean: float = 0.0
    target_deviation: float = 1.0
    scales: Late[tuple[Scale, ...]] = ()
    words: Late[tuple[Words, ...]] = ()

    def scale_of(self, feature: str) -> Scale:
        """That of the feature's vectors."""
        return next(scale for scale in self.scales if scale.feature == feature)

    def words_of(self, feature: str) -> Words:
        """Those of a text that is read as a sequence."""
        return next(words for words in self.words if words.feature == feature)


@dataclass(frozen=True)
class Fitting:
    """What only training needs.

    Attributes:
        cells: table rows of the training rows' shared categories, cross-fitted, by feature.
        masks: which cells of a text's table exist when training starts, by feature.
        linear: what was fitted of texts that are one number each, by feature.
    """

    cells: Mapping[str, Int64[np.ndarray, "rows 2"]]
    masks: Mapping[str, Bool[np.ndarray, "terms width"]]
    linear: Mapping[str, LinearText] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The used features of a schema by how they are encoded, each with its place in `Columns` and its capacity."""

    numeric: tuple[tuple[int, FeatureCapacity], ...]
    categorical: tuple[tuple[int, FeatureCapacity], ...]
    shared: tuple[tuple[int, FeatureCapacity], ...]
    text: tuple[tuple[int, FeatureCapacity], ...]
    embedding: tuple[tuple[int, FeatureCapacity], ...] = ()
    grids: tuple[GridPart, ...] = ()
    sequence: tuple[tuple[int, FeatureCapacity], ...] = ()


@dataclass(frozen=True)
class GridPart:
    """A media column that was given something: its place among the schema's grids, its size, and its regions'."""

    place: int
    grid: Grid
    size: GridCapacity
    regions: tuple[FeatureCapacity, ...]

    @property
    def levels(self) -> tuple[int, ...]:
        """Groups of channels of each region."""
        return tuple(given.width // self.size.base for given in self.regions)


def parts_of(schema: Schema, capacity: Capacity) -> Parts:
    """Sort the features that were given a width."""
    names = ("numeric", "categorical", "shared", "text", "embedding", "sequence")
    groups: dict[str, list[tuple[int, FeatureCapacity]]] = {name: [] for name in names}
    numeric, other = 0, 0
    regions: dict[str, list[FeatureCapacity]] = {}
    for feature, given in zip(schema.features, capacity.features, strict=True):
        place = numeric if feature.kind == "numeric" else other
        numeric, other = (numeric + 1, other) if feature.kind == "numeric" else (numeric, other + 1)
        if feature.kind == "region":
            regions.setdefault(feature.column, []).append(given)
        elif given.width:
            groups[_group(feature, given)].append((place, given))
    sizes = {size.column: size for size in capacity.grids}
    grids = tuple(
        GridPart(place, grid, sizes[grid.column], tuple(regions[grid.column]))
        for place, grid in enumerate(schema.grids)
        if any(given.width for given in regions[grid.column])
    )
    return Parts(**{name: tuple(found) for name, found in groups.items()}, grids=grids)


def _group(feature: Feature, given: FeatureCapacity) -> str:
    if feature.kind in ("numeric", "text", "embedding", "sequence"):
        return feature.kind
    return "shared" if given.shared else "categorical"


def prepare(
    schema: Schema, capacity: Capacity, train: Columns, attention: Attention | None = None
) -> tuple[Preparation, Fitting]:
    """Learn it from training rows alone.

    Args:
        schema: of the problem.
        capacity: of the plan.
        train: training rows.
        attention: whose terms a text starts with; needed where there is one.
    """
    assert train.target is not None
    parts = parts_of(schema, capacity)
    numeric = sum(f.kind == "numeric" for f in schema.features)
    mean, deviation = 0.0, 1.0
    if schema.task == "regression":
        mean, deviation = float(train.target.mean()), float(train.target.std()) or 1.0
    edges: list[tuple[float, ...]] = [()] * numeric
    for place, given in parts.numeric:
        edges[place] = tuple(quantile_edges(np.ascontiguousarray(train.numeric[:, place]), given.bins).tolist())
    vocabularies: list[tuple[str, ...]] = [()] * (len(schema.features) - numeric)
    for place, given in parts.categorical:
        vocabularies[place] = vocabulary(train.categorical[place], given.rows)
    sharing, cells = {}, {}
    if parts.shared:
        axes = _axes(train, schema, mean, deviation)
        for place, given in parts.shared:
            own = given.rows - given.shared
            sharing[given.feature], cells[given.feature] = learn(train.categorical[place], axes, train.row_numbers, own)
    lexicons, masks = {}, {}
    one_output = _one_output(schema)
    for _, given in parts.text:
        assert attention is not None
        lexicons[given.feature], masks[given.feature] = _start(attention, given, one_output and given.width == 1)
    linear = dict[str, LinearText]()
    if parts.text and one_output:
        single = [(train.categorical[place], given) for place, given in parts.text if given.width == 1]
        target = (train.target.astype(np.float64) - mean) / deviation
        linear = _fit_linear(single, lexicons, target, schema.task == "binary")
    for feature, fitted in linear.items():
        known = lexicons[feature]
        lexicons[feature] = Lexicon(
            terms=tuple(known.terms[i] for i in fitted.terms), inverse=tuple(known.inverse[i] for i in fitted.terms)
        )
        masks[feature] = np.ones((len(fitted.terms), 1), dtype=bool)
    preparation = Preparation(
        edges=tuple(edges),
        vocabularies=tuple(vocabularies),
        sharing=sharing,
        lexicons=lexicons,
        target_mean=mean,
        target_deviation=deviation,
        scales=tuple(learn_scale(given.feature, train.categorical[place]) for place, given in parts.embedding),
        words=tuple(
            learn_words(given.feature, train.categorical[place], given.rows) for place, given in parts.sequence
        ),
    )
    return preparation, Fitting(cells, masks, linear)


def _axes(train: Columns, schema: Schema, mean: float, deviation: float) -> Float64[np.ndarray, "rows axes"]:
    """The target as numbers: standardised, 0 or 1, or a column per class."""
    assert train.target is not None
    if schema.task == "regression":
        return np.asarray((train.target - mean) / deviation)[:, None]
    if schema.task == "binary":
        return train.target.astype(np.float64)[:, None]
    if schema.task == "multilabel":
        return train.target.astype(np.float64)
    codes = train.target.astype(np.int64)
    return np.asarray(codes[:, None] == np.arange(len(schema.classes)), np.float64)


def _fit_linear(
    texts: Sequence[tuple[Codes, FeatureCapacity]],
    lexicons: Mapping[str, Lexicon],
    target: Float64[np.ndarray, " rows"],
    binary: bool,
) -> dict[str, LinearText]:
    counted = []
    for column, given in texts:
        lexicon = lexicons[given.feature]
        used, number = np.unique(column.codes, return_inverse=True)
        counts, _ = count_terms([column.values[i] for i in used if i >= 0], lexicon.terms)
        missing = int((used < 0).any())  # -1 is the least
        counted.append(Counted(counts, number.astype(np.int64) - missing, lexicon.weights, lexicon.groups))
    fitted = fit_texts(counted, [given.entries for _, given in texts], target, binary) if texts else ()
    return {given.feature: found for (_, given), found in zip(texts, fitted, strict=True)}


def start_alike(one: Attention, other: Attention, schema: Schema, capacity: Capacity) -> bool:
    """Whether texts begin with the same cells by either attention, and keep the same ones for the tail."""
    alone = _one_output(schema)
    for given in capacity.features:
        if not given.entries:
            continue
        (first, mask), (second, other_mask) = (_start(a, given, alone and given.width == 1) for a in (one, other))
        if first.terms != second.terms or not np.array_equal(mask, other_mask):
            return False
        if tail_terms(one, given.feature) != tail_terms(other, given.feature):
            return False
    return True


def _one_output(schema: Schema) -> bool:
    return schema.task in ("binary", "regression")


def _start(
    attention: Attention, given: FeatureCapacity, single: bool
) -> tuple[Lexicon, Bool[np.ndarray, "terms width"]]:
    """The terms that training starts with, and their cells; all that are known of a text that is a single number."""
    terms = attention.scores.terms_of(given.feature)
    weights = term_weights(attention, given.feature)[: given.rows]
    cells = np.ones(len(weights), dtype=np.int64) if single else graded(weights, given.start_entries, given.width)
    used = np.flatnonzero(cells)
    inverse = np.log((1 + terms.texts) / (1 + np.array(terms.rows)[used])) + 1
    lexicon = Lexicon(
        terms=tuple(terms.terms[i] for i in used), inverse=tuple(float(v) for v in inverse.astype(np.float32))
    )
    return lexicon, window(cells[used], given.width)
