"""What became of an encoder that was to be tuned, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.report.wording import clean, plural
from abi.units import show_count, show_seconds

if TYPE_CHECKING:
    from abi.tuning import Tuning


def tuned_sentence(found: Tuning) -> str:
    """How it was trained, what its validation loss was before and after, and whether it is used."""
    name = clean(found.feature)
    if found.loss_after is None:
        return f"{name}: nothing was trained ({found.shortened}), so the encoder stays as it is"
    rows = plural(found.rows, "row")
    if found.rows < found.rows_there:
        rows = f"{found.rows:,} of {plural(found.rows_there, 'row')}"
    how = f"{plural(found.layers, 'layer')} ({show_count(found.parameters)} weights) on {rows} in {plural(found.epochs, 'epoch')}, {show_seconds(found.seconds)}"
    why = f"; {found.shortened}" if found.shortened else ""
    if not found.kept:
        return f"{name}: {how}: validation loss {found.loss_after:.4f} is not measurably below {found.loss_before:.4f} of the untouched encoder, which stays{why}"
    assert found.train_loss is not None
    return f"{name}: {how}: validation loss {found.loss_after:.4f} in place of {found.loss_before:.4f} (training rows {found.train_loss:.4f}), epoch {found.best_epoch} kept{why}"
