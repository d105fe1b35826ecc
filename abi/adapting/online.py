"""A network that goes on learning: a few steps after each block, on the latest rows and on some of those before them.

The optimizer is that of training (AdamW, the same groups and rates); the replayed rows keep it from forgetting (Lin 1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import nn

from abi.adapting.carry import carry
from abi.adapting.stream import with_target
from abi.errors import TrainingDiverged
from abi.families.artifact import Blueprint, Model, build
from abi.families.begin import begin
from abi.families.losses import members_loss
from abi.families.sparse import pack, unpack
from abi.training.objective import training_target
from abi.training.pace import schedule
from abi.training.rates import parameter_groups, set_rate
from abi.training.start import start_linear
from abi.training.step import CLIP
from abi.types import Plan

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.metrics import Prediction

Rows = Int64[np.ndarray, " _"]
LATEST: Final = 0.5
"""Of the rows of a step, at most this share is of the latest block; the rest is replayed."""


@dataclass
class OnlineNetwork:
    """A plan's network with its optimizer.

    Attributes:
        plan: its sizes and rates.
        model: the network.
        optimizer: AdamW.
    """

    plan: Plan
    model: Model
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, plan: Plan, model: Model) -> OnlineNetwork:
        """Around a model; nothing is known of its gradients."""
        torch.set_num_threads(plan.execution.threads)
        return cls(plan, model, torch.optim.AdamW(parameter_groups(model.network, plan.execution), lr=0.0))

    @classmethod
    def begin(cls, plan: Plan, columns: Columns, seed: int, before: Model | None) -> tuple[OnlineNetwork, float]:
        """As the plan says, with the weights of the model before where they stay; gives their share.

        Args:
            plan: of the network.
            columns: rows to learn knots, vocabularies and scale from.
            seed: of what is drawn anew.
            before: whose weights are taken over.
        """
        torch.manual_seed(seed)
        schema, execution = plan.attention.scores.problem.schema, plan.execution
        blueprint, network, fitting = begin(plan, columns)
        start_linear(network, schema, fitting.linear, fixed=False)
        network.term_dropout = execution.term_dropout
        model = Model(blueprint, network)
        carried = 0.0 if before is None else carry(before, model)
        network.to(torch.device(execution.device))
        return cls.of(plan, model), carried

    def predict(self, columns: Columns) -> Prediction:
        """Probabilities (rows, classes), or values."""
        return self.model.predict_columns(columns)

    def study(
        self, columns: Columns, target: Shaped[np.ndarray, " _"], rows: Rows, *,
        epochs: int, least: int, rate: float, kl: float, seed: int,
    ) -> None:  # fmt: skip
        """Epochs over `rows`, or as many as make `least` steps, with the plan's warm-up and decay of the rate.

        Args:
            columns: all rows.
            target: their labels.
            rows: those to learn from.
            epochs: over them.
            least: steps.
            rate: peak rate, over the plan's.
            kl: penalty on how far attention moves from the plan's.
            seed: of the order.
        """
        random, each = _seeded(seed), math.ceil(len(rows) / self._batch(len(rows)))
        total = max(epochs * each, least)
        peak, step = rate * self.plan.execution.learning_rate, 0
        while step < total:
            for part in np.array_split(random.permutation(rows), each):
                self._step(columns, target, part, peak * schedule(step / total), kl)
                step += 1

    def learn(
        self, columns: Columns, target: Shaped[np.ndarray, " _"], latest: Rows, past: Rows, *,
        steps: int, rate: float, kl: float, seed: int,
    ) -> None:  # fmt: skip
        """Some steps: half of each on the latest rows, or all of these, the rest drawn from those before."""
        if not len(latest):
            return
        random, size = _seeded(seed), self._batch(len(latest) + len(past))
        for _ in range(steps):
            own = min(len(latest), max(1, int(LATEST * size)))
            fresh = random.choice(latest, own, replace=False)
            replayed = random.choice(past, min(len(past), size - own), replace=False) if len(past) else past
            self._step(columns, target, np.concatenate([fresh, replayed]), rate * self.plan.execution.learning_rate, kl)

    def _batch(self, rows: int) -> int:
        return max(1, min(self.plan.execution.batch_rows, rows))

    def _step(self, columns: Columns, target: Shaped[np.ndarray, " _"], rows: Rows, rate: float, kl: float) -> None:
        """One step of AdamW.

        Raises:
            TrainingDiverged: the loss or a gradient is not finite.
        """
        network, schema = self.model.network, self.model.schema
        chosen = with_target(columns, target, rows)
        device = torch.device(self.plan.execution.device)
        wanted = training_target(chosen, schema, self.model.blueprint.preparation).to(device)
        network.train()
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        out = network(network.encode(chosen).to(device))
        loss = members_loss(out, wanted, schema.task, self.plan.execution.smoothing)
        (loss + kl * network.attention.divergence()).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        if not math.isfinite(float(norm) + float(loss.detach())):
            msg = f"Loss or gradient of the adapting network became NaN or infinite at learning rate {rate:.2g}: lower adapt.rate or training.learning_rate, or check the data for extreme values."
            raise TrainingDiverged(msg)
        self.optimizer.step()

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and what the optimizer knows, by name."""
        found = {f"weight:{name}": tensor for name, tensor in pack(self.model.network.state_dict()).items()}
        for number, held in self.optimizer.state_dict()["state"].items():
            found |= {f"adam:{number}:{part}": torch.as_tensor(value) for part, value in held.items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    @classmethod
    def restore(cls, plan: Plan, blueprint: Blueprint, state: dict[str, torch.Tensor]) -> OnlineNetwork:
        """As `state` was given."""
        network = build(blueprint)
        network.term_dropout = plan.execution.term_dropout
        weights = {name.removeprefix("weight:"): t for name, t in state.items() if name.startswith("weight:")}
        network.load_state_dict(unpack(weights, network))
        network.to(torch.device(plan.execution.device))
        made = cls.of(plan, Model(blueprint, network))
        held: dict[int, dict[str, Any]] = {}
        for name, tensor in state.items():
            if name.startswith("adam:"):
                _, number, part = name.split(":")
                held.setdefault(int(number), {})[part] = tensor
        made.optimizer.load_state_dict({**made.optimizer.state_dict(), "state": held})
        return made


def _seeded(seed: int) -> np.random.Generator:
    """For the choice of rows; dropout draws from torch's."""
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def at_planned_size(plan: Plan) -> Plan:
    """The same without what training alone would drop: a network along a stream has its planned size from the start."""
    features = tuple(replace(f, start_entries=f.entries) for f in plan.capacity.features)
    return replace(plan, capacity=replace(plan.capacity, features=features, pruning=None))
