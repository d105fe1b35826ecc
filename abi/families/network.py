"""The `network` family: an encoder per feature, attention over features, and TabM-mini on top (Gorishniy et al. 2024).

Legend of shapes: B rows of a batch, D sum of all widths, K ensemble members, H block width, C outputs. Where there are
pictures, what the layers read is less than D: the regions of one picture are added up (`read`, by whom: `read_by`).

The output is sum_i n a_i h_i(x) laid side by side: h_i is feature i's encoder with the width that the plan gave it, a_i
its attention (n a_i = 1 for an even split). Training moves a by a learned offset around the plan's weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from abi.families.dropout import dropout
from abi.families.ensemble import ElementwiseAffine, LinearEnsemble
from abi.families.modalities import heard, listeners, shares
from abi.families.preparation import Fitting, Lexicon, Preparation, parts_of
from abi.families.sizes import CHUNK_ROWS, PICTURE_CHUNK, outputs
from abi.families.sparse import add_masks
from abi.inputs import embedding, sequence
from abi.inputs.categorical import EXTRA_ROWS, CategoryEncoder, look_up
from abi.inputs.embedding import VectorEncoder
from abi.inputs.kind import CellPart
from abi.inputs.linear_text import LinearText
from abi.inputs.numeric import NumericEncoder
from abi.inputs.profile import ProfileEncoder
from abi.inputs.region import RegionEncoder
from abi.inputs.sequence import SequenceEncoder
from abi.inputs.terms import bags_of
from abi.inputs.text import BagCells, TextEncoder
from abi.modality import modalities, modality_of
from abi.problem import Schema
from abi.types import Capacity, FeatureCapacity

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns


LEAST_WEIGHT: Final = 1e-9
"""A feature that was given nothing has no logarithm."""


@dataclass(frozen=True)
class Cells:
    """An encoded table, on a device: a part for each of the network's encoders, in their order."""

    parts: tuple[CellPart, ...]
    rows: int

    def take(self, index: Int[Tensor, " taken"]) -> Cells:
        """The rows at `index`."""
        return Cells(tuple(part.take(index) for part in self.parts), len(index))

    def to(self, device: torch.device) -> Cells:
        """The same on another device."""
        return Cells(tuple(part.to(device) for part in self.parts), self.rows)

    def tensors(self) -> list[Tensor]:
        """All tensors that they consist of."""
        return [tensor for part in self.parts for tensor in part.tensors()]

    @property
    def texts(self) -> tuple[BagCells, ...]:
        """The texts among them."""
        return tuple(part for part in self.parts if isinstance(part, BagCells))


class FeatureAttention(nn.Module):
    """Scales n * softmax(log prior + offset): n a_i."""

    log_prior: Tensor

    def __init__(self, prior: Float[Tensor, " features"]) -> None:
        super().__init__()
        self.register_buffer("log_prior", prior.clamp_min(LEAST_WEIGHT).log())
        self.offset = nn.Parameter(torch.zeros_like(prior))

    def weights(self) -> Float[Tensor, " features"]:
        """a, on the simplex."""
        return torch.softmax(self.log_prior + self.offset, 0)

    def forward(self) -> Float[Tensor, " features"]:
        """Scales with mean 1."""
        return self.weights() * len(self.offset)

    def divergence(self) -> Float[Tensor, ""]:
        """KL(a || prior), in nats."""
        log_a = torch.log_softmax(self.log_prior + self.offset, 0)
        return (log_a.exp() * (log_a - self.log_prior)).sum()


class Network(nn.Module):
    """Encoders, attention and backbone of the sizes that a plan gives."""

    feature_of: Tensor
    read: Tensor
    read_by: Tensor
    modality_of: Tensor
    listens: Tensor | None

    def __init__(
        self,
        schema: Schema,
        capacity: Capacity,
        preparation: Preparation,
        prior: Float[np.ndarray, " features"],
        *,
        dropout: float,
        low_precision: bool,
        masks: Mapping[str, Bool[np.ndarray, "terms width"]] | None = None,
    ) -> None:
        super().__init__()
        parts = parts_of(schema, capacity)
        self.places = parts
        self.preparation = preparation
        edges = [np.array(preparation.edges[place]) for place, _ in parts.numeric]
        rows = [len(preparation.vocabularies[place]) + EXTRA_ROWS for place, _ in parts.categorical]
        shared = [preparation.sharing[given.feature].rows for _, given in parts.shared]
        self.numeric = NumericEncoder(edges, [c.width for _, c in parts.numeric]) if parts.numeric else None
        self.category = CategoryEncoder(rows, [c.width for _, c in parts.categorical]) if parts.categorical else None
        self.shared = ProfileEncoder(shared, [c.width for _, c in parts.shared]) if parts.shared else None
        self.vectors = nn.ModuleList(VectorEncoder(given.rows, given.width) for _, given in parts.embedding)
        self.sequences = nn.ModuleList(
            SequenceEncoder(len(preparation.words_of(given.feature).words) + sequence.EXTRA_ROWS, given.width)
            for _, given in parts.sequence
        )
        self.texts = nn.ModuleList(TextEncoder(self._mask(given, masks)) for _, given in parts.text)
        place_of = {f.name: i for i, f in enumerate(schema.features)}
        laid = [parts.numeric[i][1] for i in self.numeric.order] if self.numeric else []
        laid += [parts.categorical[i][1] for i in self.category.order] if self.category else []
        laid += [parts.shared[i][1] for i in self.shared.order] if self.shared else []
        laid += [given for _, given in (*parts.embedding, *parts.sequence, *parts.text)]
        self.grids = nn.ModuleList(RegionEncoder(part.grid, part.size.base, part.levels) for part in parts.grids)
        own, chunks = list(laid), [c.width for c in laid]
        read, owners = list(range(sum(chunks))), [place_of[c.feature] for c in laid for _ in range(c.width)]
        for encoder in self.grids:
            assert isinstance(encoder, RegionEncoder)
            read += (encoder.pooled() + sum(chunks)).tolist()
            chunks.append(encoder.width)
            owners += [len(schema.features)] * encoder.width
        self.register_buffer("read", torch.tensor(read), persistent=False)
        self.register_buffer("read_by", torch.tensor(owners), persistent=False)
        laid += [given for part in parts.grids for given in part.regions]
        widths = [c.width for c in laid]
        self.register_buffer(
            "feature_of",
            torch.repeat_interleave(torch.tensor([place_of[c.feature] for c in laid]), torch.tensor(widths)),
            persistent=False,
        )
        self.members, self.share, self.low_precision = capacity.members, dropout, low_precision
        self.term_dropout = self.modality_dropout = 0.0
        self.projections: nn.Module | None = None  # of `abi.families.alignment`, while training aligns modalities
        self._listen(schema, capacity, prior, own)
        width, hidden = sum(chunks), capacity.block_width
        self.width, self.hidden = width, hidden
        self.attention = FeatureAttention(torch.from_numpy(prior.astype(np.float32)))
        if capacity.blocks:
            self.adapter = ElementwiseAffine(
                (self.members, width), bias=False, scaling_init="random-signs", scaling_init_chunks=chunks
            )
        self.layers = nn.ModuleList(nn.Linear(width if b == 0 else hidden, hidden) for b in range(capacity.blocks))
        self.slices = capacity.slices or 1
        if self.slices > 1:
            self.head = LinearEnsemble(-(-width // self.slices), outputs(schema), k=self.slices)
        else:
            self.head = LinearEnsemble(hidden if capacity.blocks else width, outputs(schema), k=self.members)
        if capacity.pruning is not None:
            add_masks(self)

    def _listen(
        self, schema: Schema, capacity: Capacity, prior: Float[np.ndarray, " features"], own: list[FeatureCapacity]
    ) -> None:
        """Which modality each number that the layers read is of and, in late fusion, which members read it."""
        names = modalities(schema)
        number = {f.name: names.index(modality_of(f)) for f in schema.features}
        spoken = [number[c.feature] for c in own for _ in range(c.width)]
        for part, encoder in zip(self.places.grids, self.grids, strict=True):
            assert isinstance(encoder, RegionEncoder)
            spoken += [names.index(part.grid.column)] * encoder.width
        self.modalities = len(names)
        self.register_buffer("modality_of", torch.tensor(spoken), persistent=False)
        ears = None
        if capacity.fusion == "late":
            reader = torch.tensor(listeners(shares(prior.tolist(), schema), capacity.members))
            ears = (reader[:, None] == self.modality_of).float()
        self.register_buffer("listens", ears, persistent=False)

    def _mask(self, given: FeatureCapacity, masks: Mapping[str, Bool[np.ndarray, "terms width"]] | None) -> np.ndarray:
        """The cells that training starts with; without them a table whose cells the weights' file names."""
        if masks is not None:
            return masks[given.feature]
        return np.zeros((len(self.preparation.lexicons[given.feature].terms), given.width), dtype=bool)

    def halve(self, small: bool) -> None:
        """Whether training sees images at half their size from now on."""
        for encoder in self.grids:
            assert isinstance(encoder, RegionEncoder)
            encoder.halved = small

    def encode(self, columns: Columns, fitting: Fitting | None = None) -> Cells:
        """Columns of a table -> cells, on the CPU. `fitting` is given for the training rows themselves."""
        places, preparation = self.places, self.preparation
        parts: list[CellPart] = []
        if self.numeric is not None:
            chosen = [place for place, _ in places.numeric]
            whole = len(chosen) == columns.numeric.shape[1]
            parts.append(self.numeric.encode(columns.numeric if whole else columns.numeric[:, chosen]))
        if self.category is not None:
            found = [look_up(columns.categorical[i], preparation.vocabularies[i]) for i, _ in places.categorical]
            parts.append(self.category.encode(np.column_stack(found)))
        if self.shared is not None:
            cells = [
                preparation.sharing[given.feature].look_up(columns.categorical[i])
                if fitting is None
                else fitting.cells[given.feature]
                for i, given in places.shared
            ]
            parts.append(self.shared.encode(cells))
        parts += [
            embedding.encode(columns.categorical[i], preparation.scale_of(given.feature))
            for i, given in places.embedding
        ]
        parts += [
            sequence.encode(columns.categorical[i], preparation.words_of(given.feature), given.length or 0)
            for i, given in places.sequence
        ]
        linear = {} if fitting is None else fitting.linear
        parts += [
            self._bags(columns.categorical[i], preparation.lexicons[given.feature], encoder, linear.get(given.feature))
            for (i, given), encoder in zip(places.text, self.texts, strict=True)
        ]
        for part, encoder in zip(places.grids, self.grids, strict=True):
            assert isinstance(encoder, RegionEncoder)
            parts.append(encoder.encode(columns.pictures[part.place]))
        return Cells(tuple(parts), len(columns.row_numbers))

    def _bags(self, codes: Codes, lexicon: Lexicon, encoder: nn.Module, linear: LinearText | None) -> BagCells:
        assert isinstance(encoder, TextEncoder)
        used, numbers = np.unique(codes.codes, return_inverse=True)
        texts = [codes.values[i] for i in used if i >= 0]
        missing = len(used) - len(texts)  # -1 is the least
        cells = encoder.encode(numbers - missing, bags_of(texts, lexicon.place, lexicon.weights, lexicon.groups))
        return cells if linear is None else replace(cells, shift=torch.from_numpy(linear.shift))

    def embed(self, cells: Cells) -> Float[Tensor, "B D"]:
        """h(x): every feature's embedding, before attention."""
        parts = [
            encoder(part, self.term_dropout)
            if isinstance(encoder, TextEncoder | VectorEncoder | SequenceEncoder)
            else encoder(part)
            for encoder, part in zip(self.encoders(), cells.parts, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def encoders(self) -> list[nn.Module]:
        """The encoders, in the order in which their embeddings are laid side by side."""
        joint = [self.numeric, self.category, self.shared]
        own = (encoder for encoder in joint if encoder is not None)
        return [*own, *self.vectors, *self.sequences, *self.texts, *self.grids]

    def attend(
        self, embedding: Float[Tensor, "B D"], given: Bool[Tensor, "B modalities"] | None = None
    ) -> Float[Tensor, "B K C"]:
        """Attention and backbone; `given` as `think` takes it."""
        return self.answer(self.think(embedding, given))

    @property
    def chunk_rows(self) -> int:
        """Rows that are predicted at a time: the maps of pictures are large."""
        return PICTURE_CHUNK if len(self.grids) else CHUNK_ROWS

    def weighed(self, embedding: Float[Tensor, "B D"], scales: Float[Tensor, " features"]) -> Float[Tensor, "B read"]:
        """What the layers read: embeddings times the scales of their features, the regions of a picture added up."""
        x = embedding * scales[self.feature_of]
        return x.new_zeros(len(x), self.width).index_add(1, self.read, x) if len(self.grids) else x

    def hear(self, rows: int, device: torch.device) -> Bool[Tensor, "rows modalities"] | None:
        """Which modalities rows are given by modality dropout; None where they are given all."""
        if not (self.training and self.modality_dropout and self.modalities > 1):
            return None
        return heard(rows, self.modalities, self.modality_dropout, device)

    def think(self, embedding: Float[Tensor, "B D"], given: Bool[Tensor, "B modalities"] | None = None) -> Tensor:
        """Attention and the layers in the middle: (B K, H), or (B, D) where there are none.

        The members' adapters are folded into the first layer, which makes it one product (B, D) x (D, K H) in place of
        K scaled copies of the input. Which modalities are `given` is drawn here where it was not before.
        """
        kind = torch.bfloat16 if self.low_precision else torch.float32
        x = self.weighed(embedding, self.attention())
        given = self.hear(len(x), x.device) if given is None else given
        if given is not None:
            x = x * given[:, self.modality_of]
        x = x.to(kind)
        if not len(self.layers):
            return torch.as_tensor(x)
        hidden = self.hidden
        first, *others = self.layers.children()
        assert isinstance(first, nn.Linear)
        adapter = self.adapter.weight if self.listens is None else self.adapter.weight * self.listens
        weight = adapter.to(kind).unsqueeze(1) * first.weight.to(kind)
        x = nn.functional.linear(x, weight.view(self.members * hidden, -1))
        x = x.view(-1, hidden).add(first.bias.to(kind)).relu_()
        x = dropout(x, self.share) if self.training and self.share else x
        for layer in others:
            assert isinstance(layer, nn.Linear)
            x = nn.functional.linear(x, layer.weight.to(kind), layer.bias.to(kind)).relu_()
            x = dropout(x, self.share) if self.training and self.share else x
        return torch.as_tensor(x)

    def answer(self, x: Tensor) -> Float[Tensor, "B K C"]:
        """The heads, over what `think` gave."""
        last = x.dtype if self.training else torch.float32
        if self.slices > 1:
            dealt = nn.functional.pad(x, (0, -x.shape[1] % self.slices)).view(len(x), -1, self.slices)
            return torch.as_tensor(
                torch.einsum("bik,kic->bkc", dealt.to(last), self.head.weight.to(last)).float() + self.head.bias
            )
        if not len(self.layers):
            head = self.head.weight if self.listens is None else self.head.weight * self.listens.unsqueeze(-1)
            return torch.as_tensor(torch.einsum("bd,kdc->bkc", x.to(last), head.to(last)).float() + self.head.bias)
        x = x.view(-1, self.members, self.hidden).transpose(0, 1)
        x = torch.bmm(x.to(last), self.head.weight.to(last)).transpose(0, 1)
        return torch.as_tensor(x.float() + self.head.bias)

    def forward(self, cells: Cells) -> Float[Tensor, "B K C"]:
        """Every member's logits or value."""
        return self.attend(self.embed(cells))
