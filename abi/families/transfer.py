"""A network that starts from another domain's model: what both have in common is carried over, the rest starts fresh.

Features are matched by name and kind; texts that are left over, by the terms that both know. Of a matched feature the encoder
is carried over as the function that it is: a numeric one is read at the new knots, a categorical one value by value, a text
term by term, what a pretrained encoder gives (where both have the same one) through the same layer. Of pictures that are cut
into the same regions the convolutions are carried over. The backbone's layers are carried over where there are units for them: a larger network's further units start
fresh and are heard by none of the carried ones, so that these go on computing what they did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from abi.families import artifact
from abi.families.blend import Blend
from abi.families.network import Network
from abi.inputs.embedding import VectorEncoder
from abi.inputs.region import RegionEncoder
from abi.inputs.text import TextEncoder

if TYPE_CHECKING:
    from abi.families.family import Model
    from abi.families.preparation import Preparation
    from abi.inputs.categorical import CategoryEncoder
    from abi.inputs.numeric import NumericEncoder
    from abi.problem import Schema

MOST_RATIO: Final = 10.0
"""By how much a column is scaled at most, where attention differs from the source's."""


@dataclass(frozen=True)
class Start:
    """Where a network starts: another model, and feature here -> feature there."""

    model: artifact.Model
    pairs: Mapping[str, str]


@dataclass(frozen=True)
class Carried:
    """What was carried over: features, terms of texts, layers of the backbone, outputs, and numbers in all."""

    features: tuple[str, ...]
    terms: int
    layers: int
    outputs: int
    parameters: int


def network_of(model: Model) -> artifact.Model | None:
    """The network in a model; None where there is none."""
    if isinstance(model, Blend):
        return network_of(model.network)
    return model if isinstance(model, artifact.Model) else None


def matches(
    here: Schema, there: Schema, terms_here: Mapping[str, Sequence[str]], terms_there: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Feature here -> feature there: by name and kind, then texts by how many terms both know.

    Args:
        here: the schema of the new table.
        there: of the source.
        terms_here: of each text.
        terms_there: of each text of the source that its model has terms of.
    """
    kinds = {f.name: f.kind for f in there.features}
    found = {f.name: f.name for f in here.features if kinds.get(f.name) == f.kind}
    left = [f.name for f in here.features if f.kind == "text" and f.name not in found]
    others = [name for name in terms_there if name not in found.values()]
    shared = []
    for name in left:
        known = set(terms_here.get(name, ()))
        shared += [(len(known & set(terms_there[o])), name, o) for o in others]
    for count, name, other in sorted(shared, key=lambda s: (-s[0], s[1], s[2])):
        if count and name not in found and other not in found.values():
            found[name] = other
    return found


@torch.no_grad()
def carry_over(start: Start, network: Network, schema: Schema) -> Carried:
    """Put what both have in common into a freshly built network, in place."""
    source = start.model
    carrier = _Carrier(source, network, schema, start.pairs)
    features, terms = carrier.encoders()
    layers = carrier.layers()
    outputs = carrier.head(_outputs(schema, source.schema))
    return Carried(tuple(features), terms, layers, outputs, carrier.count)


def _outputs(here: Schema, there: Schema) -> list[tuple[int, int]]:
    """Outputs that mean the same: classes of one name, or values of two regressions."""
    if here.task != there.task:
        return []
    if here.task in {"multiclass", "multilabel"}:
        return [(i, there.classes.index(name)) for i, name in enumerate(here.classes) if name in there.classes]
    return [(0, 0)] if here.classes == there.classes else []


class _Carrier:
    """Copies from one network to another, and counts the numbers."""

    def __init__(self, source: artifact.Model, network: Network, schema: Schema, pairs: Mapping[str, str]) -> None:
        self.source, self.network, self.preparation = source.network, network, network.preparation
        self.theirs: Preparation = source.blueprint.preparation
        self.pairs, self.count = pairs, 0
        self.place = {f.name: i for i, f in enumerate(schema.features)}
        self.their_place = {f.name: i for i, f in enumerate(source.schema.features)}
        self.encoder = {f.name: f.encoder for f in schema.features}
        self.their_encoder = {f.name: f.encoder for f in source.schema.features}
        self.dims: dict[str, tuple[Tensor, Tensor]] = {}
        """Feature, or column of pictures -> its dimensions here and there that meet."""

    def encoders(self) -> tuple[list[str], int]:
        """Those of matched features that have a width in both; and how many terms are shared."""
        found, terms = [], 0
        parts, others = self.network.places, self.source.places
        for kind in ("numeric", "categorical", "embedding", "text"):
            there = {given.feature: i for i, (_, given) in enumerate(getattr(others, kind))}
            for i, (place, given) in enumerate(getattr(parts, kind)):
                other = self.pairs.get(given.feature)
                if other is None or other not in there or self.encoder[given.feature] != self.their_encoder[other]:
                    continue
                mine = torch.nonzero(self.network.feature_of.eq(self.place[given.feature])).flatten()
                own = torch.nonzero(self.source.feature_of.eq(self.their_place[other])).flatten()
                width = min(len(mine), len(own))
                self.dims[given.feature] = mine[:width], own[:width]
                j = there[other]
                if kind == "numeric":
                    self._numeric(i, j, own[:width])
                elif kind == "categorical":
                    vocabularies = (
                        self.preparation.vocabularies[place],
                        self.theirs.vocabularies[others.categorical[j][0]],
                    )
                    self._category(i, j, *vocabularies, width)
                elif kind == "embedding":
                    self._vectors(i, j, given.feature, other, width)
                else:
                    terms += self._text(i, j, self.preparation.lexicons[given.feature].terms, self.theirs.lexicons[other].terms)  # fmt: skip
                found.append(given.feature)
        return [*found, *self._pictures()], terms

    def _numeric(self, i: int, j: int, own: Tensor) -> None:
        """The source's embedding at the new knots, and of missing values."""
        encoder, other = self.network.numeric, self.source.numeric
        assert encoder is not None
        assert other is not None
        knots, width = encoder.edges[i], len(own)
        values = np.full((len(knots) + 1, len(other.edges)), np.nan)
        values[:-1, j] = knots
        wanted = other(other.encode(values))[:, own]  # numeric features come first
        group, local = _numeric_place(encoder, i)
        rows = torch.nonzero(group.get_buffer("column") == local).flatten()
        z, slope = group.get_buffer("z")[rows], group.get_parameter("slope")[local, :width]
        linear = wanted[:-1] - slope * z
        group.get_parameter("base")[local, :width] = linear[0]
        group.get_parameter("increment")[rows[1:], :width] = linear.diff(dim=0)
        group.get_parameter("missing")[local, :width] = wanted[-1]
        self.count += wanted.numel()

    def _category(self, i: int, j: int, here: Sequence[str], there: Sequence[str], width: int) -> None:
        """Rows of the values that both know, of rare ones and of missing ones."""
        encoder, other = self.network.category, self.source.category
        assert encoder is not None
        assert other is not None
        place = {value: row for row, value in enumerate(there)}
        rows = [(row, place[value]) for row, value in enumerate(here) if value in place]
        rows += [(len(here) + extra, len(there) + extra) for extra in (0, 1)]
        (table, first), (their_table, their_first) = _category_place(encoder, i), _category_place(other, j)
        to, of = torch.tensor(rows).T
        table[first + to, :width] = their_table[their_first + of, :width]
        self.count += len(rows) * width

    def _vectors(self, i: int, j: int, here: str, there: str, width: int) -> None:
        """The same layer over vectors that are standardised anew: W' = W d' / d, b' = b + W (m' - m) / d."""
        encoder, other = self.network.vectors[i], self.source.vectors[j]
        assert isinstance(encoder, VectorEncoder)
        assert isinstance(other, VectorEncoder)
        mine, theirs = self.preparation.scale_of(here), self.theirs.scale_of(there)
        (mean, deviation), (their_mean, their_deviation) = (
            (torch.tensor(s.mean), torch.tensor(s.deviation)) for s in (mine, theirs)
        )
        weight = other.layer.weight[:width] / their_deviation
        encoder.layer.weight[:width] = weight * deviation
        encoder.layer.bias[:width] = other.layer.bias[:width] + weight @ (mean - their_mean)
        self.count += weight.numel() + width

    def _pictures(self) -> list[str]:
        """Convolutions of columns whose regions are matched; gives these.

        The channels that both have: of a slimmable network the first ones.
        """
        found: list[str] = []
        own, others = _picture_dims(self.network), _picture_dims(self.source)
        for part, encoder, dims in zip(self.network.places.grids, self.network.grids, own, strict=True):
            matched = [given.feature for given in part.regions]
            for their_part, other, their_dims in zip(self.source.places.grids, self.source.grids, others, strict=True):
                if [self.pairs.get(name) for name in matched] != [given.feature for given in their_part.regions]:
                    continue
                if part.grid.channels != their_part.grid.channels:
                    continue
                assert isinstance(encoder, RegionEncoder)
                assert isinstance(other, RegionEncoder)
                state = other.state_dict()
                for name, value in encoder.state_dict(keep_vars=True).items():
                    if name in state and value.is_floating_point():
                        shared = tuple(slice(min(a, b)) for a, b in zip(value.shape, state[name].shape, strict=True))
                        value[shared] = state[name][shared]
                        self.count += value[shared].numel() if isinstance(value, nn.Parameter) else 0
                width = min(len(dims), len(their_dims))
                self.dims[part.grid.column] = dims[:width], their_dims[:width]
                found += matched
        return found

    def _text(self, i: int, j: int, here: Sequence[str], there: Sequence[str]) -> int:
        """Cells of the terms that both know: each keeps as many, in the columns that the source uses most."""
        encoder, other = self.network.texts[i], self.source.texts[j]
        assert isinstance(encoder, TextEncoder)
        assert isinstance(other, TextEncoder)
        if encoder.width == 1:  # of single numbers the values are fitted anew
            return 0
        theirs = np.zeros((other.terms, other.width), dtype=np.float32)
        theirs.reshape(-1)[other.cell.numpy()] = other.values.detach().numpy()
        cells, fresh = encoder.cell.numpy(), encoder.values.detach().numpy()
        owner, column = cells // encoder.width, cells % encoder.width
        width = min(encoder.width, other.width)
        place = {term: row for row, term in enumerate(there)}
        starts = np.searchsorted(owner, np.arange(encoder.terms + 1))
        columns, values, shared = column.copy(), fresh.copy(), 0
        for row, term in enumerate(here):
            at = place.get(term)
            mine = slice(starts[row], starts[row + 1])
            if at is None or mine.start == mine.stop:
                continue
            used = np.flatnonzero(theirs[at, :width])
            used = used[np.argsort(-np.abs(theirs[at, used]), kind="stable")][: mine.stop - mine.start]
            rest = np.setdiff1d(column[mine], used, assume_unique=True)[: mine.stop - mine.start - len(used)]
            chosen = np.concatenate([used, rest])
            more = np.setdiff1d(np.arange(encoder.width), chosen)[: mine.stop - mine.start - len(chosen)]
            chosen = np.concatenate([chosen, more])
            columns[mine] = chosen
            values[mine.start : mine.start + len(used)] = theirs[at, used]
            shared += 1
            self.count += len(used)
        found = owner * encoder.width + columns
        order = np.argsort(found, kind="stable")
        encoder.cell.copy_(torch.from_numpy(found[order]))
        encoder.values.copy_(torch.from_numpy(values[order]))
        return shared

    def layers(self) -> int:
        """The middle layers that both have; gives their number."""
        mine, theirs = (_linear(n) for n in (self.network, self.source))
        if not mine or not theirs or not self.dims:
            return 0
        units = min(self.network.hidden, self.source.hidden)
        members = min(self.network.members, self.source.members)
        for feature, (to, of) in self.dims.items():
            self._put(self.network.adapter.weight[:members], to, self.source.adapter.weight[:members, of])
            self._put(mine[0].weight[:units], to, theirs[0].weight[:units, of] * self._ratio(feature))
        for b, (layer, other) in enumerate(zip(mine, theirs, strict=False)):
            layer.bias[:units] = other.bias[:units]
            if b:
                layer.weight[:units, :units] = other.weight[:units, :units]
                layer.weight[:units, units:] = 0.0
                self.count += units * units
        return min(len(mine), len(theirs))

    def head(self, outputs: list[tuple[int, int]]) -> int:
        """Outputs that mean the same, where both networks reach them by as many layers; gives their number."""
        if len(self.network.layers) != len(self.source.layers) or not outputs or not self.dims:
            return 0
        if self.network.slices != self.source.slices:
            return 0
        if self.network.slices > 1:
            return self._slices(outputs)
        members = min(self.network.members, self.source.members)
        mine, theirs = self.network.head, self.source.head
        to, of = torch.tensor(outputs).T
        taken = theirs.weight[:members][:, :, of]
        if len(self.network.layers):
            units = min(self.network.hidden, self.source.hidden)
            whole = torch.zeros(members, self.network.hidden, len(to))
            whole[:, :units] = taken[:, :units]
        else:
            whole = mine.weight[:members][:, :, to].clone()
            for feature, (dims, their_dims) in self.dims.items():
                whole[:, dims] = taken[:, their_dims] * self._ratio(feature)
        mine.weight[:members, :, to] = whole
        mine.bias[:members, to] = theirs.bias[:members][:, of]
        self.count += whole.numel()
        return len(outputs)

    def _slices(self, outputs: list[tuple[int, int]]) -> int:
        """The same where each of as many heads reads dimensions of its own, dealt out in turn."""
        mine, theirs = self.network.head, self.source.head
        to, of = torch.tensor(outputs).T
        whole, taken = (head.weight.transpose(0, 1).flatten(0, 1) for head in (mine, theirs))  # by dimension
        for feature, (dims, their_dims) in self.dims.items():
            whole[dims[:, None], to] = taken[their_dims[:, None], of] * self._ratio(feature)
            self.count += len(dims) * len(to)
        mine.weight.copy_(whole.unflatten(0, (-1, self.network.slices)).transpose(0, 1))
        mine.bias[:, to] = theirs.bias[:, of]
        return len(outputs)

    def _put(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        rows[:, columns] = values
        self.count += values.numel()

    def _ratio(self, feature: str) -> float:
        """Embeddings are scaled by n times attention: what reads them makes up for the difference.

        Those of a picture's regions are added up before they are read, each by its own attention: they stay as they are.
        """
        if feature not in self.place or feature not in self.pairs:
            return 1.0
        theirs = float(self.source.attention()[self.their_place[self.pairs[feature]]])
        mine = float(self.network.attention()[self.place[feature]])
        return float(np.clip(theirs / max(mine, 1e-12), 1 / MOST_RATIO, MOST_RATIO))


def _picture_dims(network: Network) -> list[Tensor]:
    """What the layers read of each column of pictures: behind all other features."""
    widths = [encoder.width for encoder in network.grids if isinstance(encoder, RegionEncoder)]
    first = network.width - sum(widths)
    starts = [first + sum(widths[:i]) for i in range(len(widths))]
    return [torch.arange(start, start + width) for start, width in zip(starts, widths, strict=True)]


def _linear(network: Network) -> list[nn.Linear]:
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]


def _numeric_place(encoder: NumericEncoder, i: int) -> tuple[nn.Module, int]:
    """The group that a numeric feature lies in, and where in it."""
    at = encoder.order.index(i)
    for group, (begin, end) in zip(encoder.groups, encoder.spans, strict=True):
        if begin <= at < end:
            return group, at - begin
    raise AssertionError(i)


def _category_place(encoder: CategoryEncoder, i: int) -> tuple[Tensor, int]:
    """The table that a categorical feature lies in, and its first row there."""
    at = encoder.order.index(i)
    for table, (begin, end), counts in zip(encoder.tables, encoder.spans, encoder._counts, strict=True):
        if begin <= at < end:
            return table, sum(counts[: at - begin])
    raise AssertionError(i)
