"""How a network of a given kind of data is trained best: sizes and rates by rows and task, chosen on validation rows.

Found on seven open tables (adult, bank_marketing, phoneme, kc1_defects, mammography, california_housing, covertype) by
validation loss, three seeds on the small ones. What mattered most: a high learning rate with a higher one for the
encoders, more bins for regression, weight decay and averaged weights on small and medium tables. What did not: label
smoothing, wider embeddings at equal bins, other initial adapters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from abi.problem import Task

if TYPE_CHECKING:
    from abi.recipes import TrainingConfig

SMALL_ROWS: Final = 3_000
SHORT_ROWS: Final = 6_000
MEDIUM_ROWS: Final = 20_000
LARGE_ROWS: Final = 50_000
LEAST_STEPS: Final = 240
TERM_DROPOUT: Final = 0.2
PICTURES_SEEN: Final = 200_000
LEAST_PICTURE_EPOCHS, MOST_PICTURE_EPOCHS = 12, 40
FEW_PICTURES: Final = 1_000
MODALITY_DROPOUT: Final = 0.1
TEXT_DROPOUT: Final = 0.6
"""The same where there is nothing but text: banking77's validation accuracy rose from .86 (0.2) to .89."""
LABEL_TERM_DROPOUT: Final = 0.5
"""The same where a text's embedding is read by several heads, of several labels per row."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a plan starts from, before the envelope cuts it.

    Attributes:
        members: ensemble views.
        blocks: linear layers of the backbone.
        block_width: their width.
        bins: of a numeric feature at the even width.
        dropout: in the backbone.
        learning_rate: peak rate of AdamW.
        encoder_factor: the encoders' rate over that.
        weight_decay: of the backbone's and head's matrices.
        average: decay of the exponential moving average of the weights; 0 is none.
        batch_rows: rows of a step.
        epochs: of one training.
        patience: epochs without a better validation loss.
        term_dropout: share of a text's terms that a step leaves out.
        smoothing: of labels.
        attended_decay: exponent of how much weaker weight decay is on attended features; 0 is the same for all.
        base: channels of the first stage of a picture's encoder.
        compute: share of its multiply-accumulates that attention's split may take.
        modality_dropout: share of whole modalities that a training row is not given.
        fusion: early (layers read all modalities) or late (each member reads one).
    """

    members: int
    blocks: int
    block_width: int
    bins: int
    dropout: float
    learning_rate: float
    encoder_factor: float
    weight_decay: float
    average: float
    batch_rows: int
    epochs: int
    patience: int
    term_dropout: float = 0.0
    smoothing: float = 0.0
    attended_decay: float = 0.0
    base: int = 0
    compute: float = 1.0
    modality_dropout: float = 0.0
    fusion: str = "early"


def recipe(
    rows: int,
    task: Task,
    settings: TrainingConfig,
    *,
    text_alone: bool = False,
    many_valued: bool = False,
    pictures: bool = False,
    pictures_alone: bool = False,
    several: bool = False,
) -> Recipe:
    """The recipe for `rows` training rows; settings that are not null go before it.

    Where all features are texts the head reads their embeddings: a backbone brought nothing on validation rows. Where
    categories have very many values (amazon_access, criteo) one layer at a lower rate keeps rare ones from being learnt
    by heart, in an even split above all.
    """
    chosen = _of_text(rows, task) if text_alone else _by_rows(rows, task)
    if pictures:
        chosen = _of_pictures(rows, task, chosen, alone=pictures_alone)
    if pictures and several:
        chosen = replace(chosen, modality_dropout=MODALITY_DROPOUT)
    if many_valued and not text_alone:
        chosen = replace(chosen, blocks=1, learning_rate=3e-3, encoder_factor=2.0, dropout=0.2)
    given = {
        name: value for name in Recipe.__dataclass_fields__ if (value := getattr(settings, name, None)) is not None
    }
    return Recipe(**{**{name: getattr(chosen, name) for name in Recipe.__dataclass_fields__}, **given})


def _of_text(rows: int, task: Task) -> Recipe:
    chosen = Recipe(
        members=1, blocks=0, block_width=0, bins=32, dropout=0.0, learning_rate=2e-2, encoder_factor=1.0,
        weight_decay=0.0, average=0.0, batch_rows=128 if rows < MEDIUM_ROWS else 256,
        epochs=25 if rows < LARGE_ROWS else 10, patience=25, term_dropout=TEXT_DROPOUT,
    )  # fmt: skip
    if task == "multiclass":
        return replace(chosen, smoothing=0.1)
    if task == "multilabel" and rows < LARGE_ROWS:
        return replace(
            chosen, learning_rate=5e-2, average=0.99, batch_rows=chosen.batch_rows // 2, epochs=60,
            term_dropout=LABEL_TERM_DROPOUT, smoothing=0.01,
        )  # fmt: skip
    return chosen


def _of_pictures(rows: int, task: Task, table: Recipe, *, alone: bool) -> Recipe:
    """With pictures an epoch is costly and needs many; the head reads them alone, a table beside them keeps its backbone."""
    epochs = min(MOST_PICTURE_EPOCHS, max(LEAST_PICTURE_EPOCHS, PICTURES_SEEN // rows))
    base = 8 if rows < FEW_PICTURES else 16
    shared = replace(
        table, learning_rate=1e-2 if alone else min(table.learning_rate, 4e-3), encoder_factor=1.0, weight_decay=0.05,
        average=0.0, batch_rows=128 if rows >= FEW_PICTURES else 32, epochs=epochs, patience=max(10, epochs // 3),
        smoothing=0.1 if task == "multiclass" else 0.0, base=base,
    )  # fmt: skip
    return replace(shared, members=1, blocks=0, block_width=0, dropout=0.0) if alone else shared


def _by_rows(rows: int, task: Task) -> Recipe:
    if rows < SMALL_ROWS:
        steps = -(-rows // 128)
        return Recipe(
            members=16, blocks=2, block_width=128, bins=64, dropout=0.2, learning_rate=4e-3, encoder_factor=4.0,
            weight_decay=0.1, average=0.0, batch_rows=128, epochs=max(20, -(-LEAST_STEPS // steps)), patience=10,
        )  # fmt: skip
    if rows < MEDIUM_ROWS and task == "regression":
        return Recipe(
            members=16, blocks=3, block_width=192, bins=192, dropout=0.1, learning_rate=6e-3, encoder_factor=6.0,
            weight_decay=0.1, average=0.995, batch_rows=256, epochs=40, patience=10,
        )  # fmt: skip
    if rows < MEDIUM_ROWS:
        short = rows < SHORT_ROWS
        return Recipe(
            members=16, blocks=3, block_width=192, bins=64, dropout=0.1, learning_rate=6e-3, encoder_factor=4.0,
            weight_decay=3e-4, average=0.0, batch_rows=128 if short else 256, epochs=50 if short else 30, patience=12,
        )  # fmt: skip
    if rows < LARGE_ROWS:
        return Recipe(
            members=8, blocks=2, block_width=192, bins=96, dropout=0.1, learning_rate=6e-3, encoder_factor=4.0,
            weight_decay=0.1, average=0.99, batch_rows=256, epochs=10, patience=5,
        )  # fmt: skip
    return Recipe(
        members=8, blocks=2, block_width=384, bins=48, dropout=0.1, learning_rate=6e-3, encoder_factor=3.0,
        weight_decay=3e-4, average=0.0, batch_rows=512, epochs=24, patience=8,
    )  # fmt: skip
