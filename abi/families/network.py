"""The `network` family: an encoder per feature, attention over features, and TabM-mini on top (Gorishniy et al. 2024).

Legend of shapes: B rows of a batch, D sum of all widths, K ensemble members, H block width, C outputs.

The output is sum_i n a_i h_i(x) laid side by side: h_i is feature i's encoder with the width that the plan gave it, a_i
its attention (n a_i = 1 for an even split). Training moves a by a learned offset around the plan's weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from abi.families.dropout import dropout
from abi.families.ensemble import ElementwiseAffine, LinearEnsemble
from abi.families.preparation import Fitting, Lexicon, Preparation, parts_of
from abi.families.sparse import add_masks
from abi.inputs.categorical import EXTRA_ROWS, CategoryEncoder, look_up
from abi.inputs.numeric import NumericCodes, NumericEncoder
from abi.inputs.profile import ProfileEncoder
from abi.inputs.terms import bags_of
from abi.inputs.text import BagCells, TextEncoder
from abi.problem import Schema
from abi.types import Capacity, FeatureCapacity, LayerSplit

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns


LEAST_WEIGHT: Final = 1e-9
"""A feature that was given nothing has no logarithm."""


@dataclass(frozen=True)
class Cells:
    """An encoded table, on a device; a part is None (or empty) where the table has no such feature."""

    numeric: NumericCodes | None
    category: Int[Tensor, "B categorical"] | None
    shared: Int[Tensor, "B shared 2"] | None
    texts: tuple[BagCells, ...]
    rows: int

    def take(self, index: Int[Tensor, " taken"]) -> Cells:
        """The rows at `index`."""
        return Cells(
            None if self.numeric is None else self.numeric.take(index),
            None if self.category is None else self.category.index_select(0, index),
            None if self.shared is None else self.shared.index_select(0, index),
            tuple(text.take(index) for text in self.texts),
            len(index),
        )

    def to(self, device: torch.device) -> Cells:
        """The same on another device."""
        numeric = self.numeric
        return Cells(
            None if numeric is None else NumericCodes(numeric.row.to(device), numeric.fraction.to(device)),
            None if self.category is None else self.category.to(device),
            None if self.shared is None else self.shared.to(device),
            tuple(text.to(device) for text in self.texts),
            self.rows,
        )


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
        self.texts = nn.ModuleList(TextEncoder(self._mask(given, masks)) for _, given in parts.text)
        place_of = {f.name: i for i, f in enumerate(schema.features)}
        laid = [parts.numeric[i][1] for i in self.numeric.order] if self.numeric else []
        laid += [parts.categorical[i][1] for i in self.category.order] if self.category else []
        laid += [parts.shared[i][1] for i in self.shared.order] if self.shared else []
        laid += [given for _, given in parts.text]
        widths = [c.width for c in laid]
        self.register_buffer(
            "feature_of",
            torch.repeat_interleave(torch.tensor([place_of[c.feature] for c in laid]), torch.tensor(widths)),
            persistent=False,
        )
        self.members, self.share, self.low_precision = capacity.members, dropout, low_precision
        self.term_dropout = 0.0
        width, hidden = sum(widths), capacity.block_width
        self.hidden = hidden
        self.attention = FeatureAttention(torch.from_numpy(prior.astype(np.float32)))
        if capacity.blocks:
            self.adapter = ElementwiseAffine(
                (self.members, width), bias=False, scaling_init="random-signs", scaling_init_chunks=widths
            )
        self.layers = nn.ModuleList(nn.Linear(width if b == 0 else hidden, hidden) for b in range(capacity.blocks))
        self.head = LinearEnsemble(hidden if capacity.blocks else width, outputs(schema), k=self.members)
        if capacity.pruning is not None:
            add_masks(self)

    def _mask(self, given: FeatureCapacity, masks: Mapping[str, Bool[np.ndarray, "terms width"]] | None) -> np.ndarray:
        """The cells that training starts with; without them a table whose cells the weights' file names."""
        if masks is not None:
            return masks[given.feature]
        return np.zeros((len(self.preparation.lexicons[given.feature].terms), given.width), dtype=bool)

    def encode(self, columns: Columns, fitting: Fitting | None = None) -> Cells:
        """Columns of a table -> cells, on the CPU. `fitting` is given for the training rows themselves."""
        parts, preparation = self.places, self.preparation
        numeric, category, shared = None, None, None
        if self.numeric is not None:
            chosen = [place for place, _ in parts.numeric]
            whole = len(chosen) == columns.numeric.shape[1]
            numeric = self.numeric.encode(columns.numeric if whole else columns.numeric[:, chosen])
        if self.category is not None:
            found = [look_up(columns.categorical[i], preparation.vocabularies[i]) for i, _ in parts.categorical]
            category = self.category.encode(np.column_stack(found))
        if self.shared is not None:
            cells = [
                preparation.sharing[given.feature].look_up(columns.categorical[i])
                if fitting is None
                else fitting.cells[given.feature]
                for i, given in parts.shared
            ]
            shared = self.shared.encode(cells)
        texts = tuple(
            self._bags(columns.categorical[i], preparation.lexicons[given.feature], encoder)
            for (i, given), encoder in zip(parts.text, self.texts, strict=True)
        )
        return Cells(numeric, category, shared, texts, len(columns.row_numbers))

    def _bags(self, codes: Codes, lexicon: Lexicon, encoder: nn.Module) -> BagCells:
        assert isinstance(encoder, TextEncoder)
        used, numbers = np.unique(codes.codes, return_inverse=True)
        texts = [codes.values[i] for i in used if i >= 0]
        missing = len(used) - len(texts)  # -1 is the least
        return encoder.encode(numbers - missing, bags_of(texts, lexicon.place, lexicon.weights))

    def embed(self, cells: Cells) -> Float[Tensor, "B D"]:
        """h(x): every feature's embedding, before attention."""
        parts = []
        if self.numeric is not None:
            parts.append(self.numeric(cells.numeric))
        if self.category is not None:
            parts.append(self.category(cells.category))
        if self.shared is not None:
            parts.append(self.shared(cells.shared))
        parts += [encoder(text, self.term_dropout) for encoder, text in zip(self.texts, cells.texts, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def attend(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B K C"]:
        """Attention and backbone."""
        return self.answer(self.think(embedding))

    def think(self, embedding: Float[Tensor, "B D"]) -> Tensor:
        """Attention and the layers in the middle: (B K, H), or (B, D) where there are none.

        The members' adapters are folded into the first layer, which makes it one product (B, D) x (D, K H) in place of
        K scaled copies of the input.
        """
        kind = torch.bfloat16 if self.low_precision else torch.float32
        x = (embedding * self.attention()[self.feature_of]).to(kind)
        if not len(self.layers):
            return torch.as_tensor(x)
        hidden = self.hidden
        first, *others = self.layers.children()
        assert isinstance(first, nn.Linear)
        weight = self.adapter.weight.to(kind).unsqueeze(1) * first.weight.to(kind)
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
        if not len(self.layers):
            return torch.as_tensor(
                torch.einsum("bd,kdc->bkc", x.to(last), self.head.weight.to(last)).float() + self.head.bias
            )
        x = x.view(-1, self.members, self.hidden).transpose(0, 1)
        x = torch.bmm(x.to(last), self.head.weight.to(last)).transpose(0, 1)
        return torch.as_tensor(x.float() + self.head.bias)

    def forward(self, cells: Cells) -> Float[Tensor, "B K C"]:
        """Every member's logits or value."""
        return self.attend(self.embed(cells))


def outputs(schema: Schema) -> int:
    """C: one logit (binary), one per class (multiclass), one value (regression)."""
    return len(schema.classes) if schema.task == "multiclass" else 1


def layer_split(
    encoders: int, features: int, width: int, members: int, blocks: int, hidden: int, out: int
) -> LayerSplit:
    """Parameters of a network of that size.

    Args:
        encoders: parameters of all encoders.
        features: how many features there are (one attention offset each).
        width: D, the sum of all widths.
        members: K.
        blocks: linear layers of the backbone; with none, the head reads the embeddings.
        hidden: H.
        out: C.
    """
    if not blocks:
        return LayerSplit(feature_extraction=encoders + features, middle=0, output=members * (width + 1) * out)
    return LayerSplit(
        feature_extraction=encoders + features,
        middle=members * width + (width + 1) * hidden + (blocks - 1) * (hidden + 1) * hidden,
        output=members * (hidden + 1) * out,
    )


def multiply_accumulates(width: int, members: int, blocks: int, hidden: int, out: int) -> int:
    """Multiply-accumulates of one row's forward pass through the backbone."""
    if not blocks:
        return members * width * out
    return members * hidden * (width + (blocks - 1) * hidden + out)
