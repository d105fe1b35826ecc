"""A model on disk: ``weights.safetensors`` and ``model.json``, no pickle; and what loads it to predict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from abi.errors import UsageError, WorkspaceError
from abi.families.decision import Decision
from abi.families.family import MODEL, predict_frame
from abi.families.network import Cells, Network
from abi.families.preparation import Lexicon, Preparation
from abi.families.sparse import pack, parameters, unpack
from abi.inputs.pretrained import encoders_beside
from abi.inputs.text import TextEncoder
from abi.problem import Schema
from abi.types import Capacity
from abi.values import Late, Value

if TYPE_CHECKING:
    import pandas as pd

    from abi.data.columns import Columns, Vectors

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Blueprint(Value):
    """All that is needed to build the network around its weights."""

    family: str
    schema: Schema
    capacity: Capacity
    preparation: Preparation
    prior: tuple[float, ...]
    dropout: float
    decision: Late[Decision | None] = None


@dataclass(frozen=True)
class Model:
    """A network with its blueprint: predicts for tables as they come.

    `vectors` are the pretrained encoders that it needs, where rows come without their vectors.
    """

    blueprint: Blueprint
    network: Network
    vectors: Vectors | None = None

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        return self.blueprint.schema

    @property
    def parameters(self) -> int:
        """Trainable parameters, without those that training dropped."""
        return parameters(self.network)

    @property
    def thresholds(self) -> Float[np.ndarray, " labels"] | None:
        """Chances from which on labels are taken; None where the target has one class per row, or numbers."""
        decision = self.blueprint.decision
        return None if decision is None or not decision.thresholds else np.array(decision.thresholds)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

        Raises:
            DataError: a feature's column is missing.
        """
        return predict_frame(self, frame)

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes or labels), or values (rows,) in the target's unit."""
        return self.predict_cells(self.encode(columns))

    def encode(self, columns: Columns) -> Cells:
        """The rows as the network takes them, with the vectors of pretrained encoders."""
        from abi.data.columns import with_vectors  # noqa: PLC0415 - it imports pandas, which planning does without

        whole = with_vectors(columns.categorical, self.schema, self.vectors)
        return self.network.encode(replace(columns, categorical=whole))

    def predict_cells(self, cells: Cells) -> Float[np.ndarray, "rows ..."]:
        """The same for encoded rows, in chunks."""
        device = next(self.network.parameters()).device
        self.network.eval()
        if not cells.rows:
            return np.zeros((0, len(self.blueprint.schema.classes)) if self.blueprint.schema.classes else (0,))
        with torch.inference_mode():
            chunks = torch.split(torch.arange(cells.rows), self.network.chunk_rows)
            parts = [joined(self.network(cells.take(index).to(device)), self.schema.task).cpu() for index in chunks]
        return self.in_unit(torch.cat(parts))

    def in_unit(self, prediction: torch.Tensor) -> Float[np.ndarray, "rows ..."]:
        """What `joined` gives -> probabilities of all classes or labels, or values in the target's unit."""
        result = prediction.double().numpy()
        task, preparation = self.blueprint.schema.task, self.blueprint.preparation
        if task == "regression":
            return np.asarray(result * preparation.target_deviation + preparation.target_mean)
        decision = self.blueprint.decision
        if decision is not None and decision.rejection is not None:
            return decision.rejection.applied(result)
        return np.column_stack([1 - result, result]) if task == "binary" else np.asarray(result)

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        return {WEIGHTS: self._weights(), MODEL: self.blueprint.canonical()}

    def _weights(self) -> bytes:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        return bytes(save_tensors(pack(state), metadata={"blueprint": self.blueprint.id}))

    @property
    def artifact(self) -> str:
        """SHA-256 of the weights file."""
        return hashlib.sha256(self._weights()).hexdigest()


def joined(out: Float[torch.Tensor, "B K C"], task: str) -> torch.Tensor:
    """The members' average: probability (B,), probabilities (B, C), or standardised value (B,)."""
    if task == "multiclass":
        return out.softmax(-1).mean(1)
    if task == "multilabel":
        return out.sigmoid().mean(1)
    if task == "binary":
        return out.squeeze(-1).sigmoid().mean(1)
    return out.squeeze(-1).mean(1)


def build(
    blueprint: Blueprint,
    *,
    low_precision: bool = False,
    masks: Mapping[str, Bool[np.ndarray, "terms width"]] | None = None,
) -> Network:
    """The network of that blueprint, freshly initialised from torch's global seed; `masks` are the cells of texts."""
    return Network(
        blueprint.schema,
        blueprint.capacity,
        blueprint.preparation,
        np.array(blueprint.prior),
        dropout=blueprint.dropout,
        low_precision=low_precision,
        masks=masks,
    )


def compact(model: Model) -> Model:
    """The same model without the terms that have no cell left; it predicts the same, up to rounding."""
    if not len(model.network.texts):
        return model
    blueprint, network = model.blueprint, model.network
    lexicons = dict(blueprint.preparation.lexicons)
    for (_, given), encoder in zip(network.places.text, network.texts, strict=True):
        assert isinstance(encoder, TextEncoder)
        lexicon = lexicons[given.feature]
        used = np.flatnonzero(encoder.widths())
        lexicons[given.feature] = Lexicon(
            terms=tuple(lexicon.terms[i] for i in used), inverse=tuple(lexicon.inverse[i] for i in used)
        )
        encoder.renumber(used)
    smaller = replace(blueprint, preparation=replace(blueprint.preparation, lexicons=lexicons))
    network.preparation = smaller.preparation
    return Model(smaller, network, model.vectors)


def load(folder: Path | str) -> Model:
    """Read a model folder.

    Raises:
        WorkspaceError: a file is missing or damaged, or weights and blueprint do not belong together.
    """
    folder = Path(folder)
    try:
        plain: Any = json.loads((folder / MODEL).read_bytes())
        data = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        msg = f"Expected {MODEL} and {WEIGHTS} in {folder}, got: {error}. Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    try:
        blueprint = Blueprint.from_json(plain)
        tensors = load_tensors(data)
    except (UsageError, SafetensorError) as error:
        msg = f"Expected a whole model in {folder}, got damaged files: {error} Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    length = int.from_bytes(data[:8], "little")
    written = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("blueprint")
    if written != blueprint.id:
        msg = f"Expected weights of blueprint {blueprint.id[:12]} in {folder}, got those of {str(written)[:12]}."
        raise WorkspaceError(msg)
    network = build(blueprint)
    try:
        network.load_state_dict(unpack(tensors, network))
    except (ValueError, KeyError, RuntimeError) as error:
        msg = f"Expected weights of the blueprint's sizes in {folder}, got others: {error} Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    network.eval()
    return Model(blueprint, network, encoders_beside(folder, blueprint.schema.features))
