"""What became of an encoder that was to be tuned."""

from __future__ import annotations

from dataclasses import dataclass

from abi.values import Late, Value


@dataclass(frozen=True, kw_only=True)
class Tuning(Value):
    """The training of an encoder's last layers, with a linear head that was thrown away; judged on validation rows.

    Attributes:
        feature: that the encoder makes.
        base: SHA-256 of the encoder that the settings name.
        sha256: of the one that is used: a tuned one, or `base` where tuning did not help.
        rows: training rows that it learned from.
        rows_there: training rows with a value.
        epochs: passes over them that were run.
        best_epoch: the one that is kept; 0 where none is.
        layers: last layers that were trained.
        parameters: weights in them.
        loss_before: least validation loss of a linear head on the untouched encoder's vectors.
        loss_after: of the tuned encoder with its head, after the best of its epochs; None where none was run.
        train_loss: of the training rows in that epoch, by which their vectors know their labels.
        seconds: it took.
        micro_batch: rows that went through the layers together.
        shortened: why there were fewer rows or epochs than asked for; empty where there were not.
    """

    feature: str
    base: str
    sha256: str
    rows: int
    rows_there: int
    epochs: int
    best_epoch: int
    layers: int
    parameters: int
    loss_before: float
    loss_after: float | None
    train_loss: float | None
    seconds: float
    micro_batch: int
    shortened: Late[str] = ""

    @property
    def kept(self) -> bool:
        """Whether the tuned encoder is used."""
        return self.best_epoch > 0
