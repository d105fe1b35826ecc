"""What a person sees while a run goes on: lines and a progress bar on stderr; and the curves for TensorBoard."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from abi.errors import clip
from abi.outcomes import Epoch, Revision
from abi.types import Plan

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def set_up(*, quiet: bool, verbose: bool, no_color: bool) -> None:
    """What a person sees on stderr in this process."""
    console.quiet = quiet
    console.no_color = no_color or console.no_color
    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")


def say(text: str) -> None:
    """One line for the person who watches; silent with --quiet."""
    console.print(text, markup=False)


def say_nothing_fits(changes: Sequence[str]) -> None:
    """That the envelope of a what-if holds no plan; the sentence that refuses it does not name the changes."""
    say(f"what if   {clip(', '.join(changes))}: nothing fits; the plan above is of the envelope as it is")


class Curves:
    """A watcher: progress bar on a terminal, TensorBoard events in `folder` (attention per feature, norms, losses)."""

    def __init__(self, plan: Plan, folder: Path | None, bar: Progress | None, task: TaskID | None) -> None:
        self._features = [f.feature for f in plan.capacity.features]
        self._writer: SummaryWriter | None = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))
        self._bar, self._task = bar, task

    def step(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def epoch(self, line: Epoch, attention: Float[np.ndarray, " features"], norms: dict[str, float]) -> None:
        """One point on every curve."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, loss=f"validation loss {line.validation_loss:.4f}")
        if self._writer is None:
            return
        if line.train_loss is not None:
            self._writer.add_scalar("loss/train", line.train_loss, line.epoch)
        self._writer.add_scalar("loss/validation", line.validation_loss, line.epoch)
        if line.metric is not None:
            self._writer.add_scalar("metric/validation", line.metric, line.epoch)
        for name, weight in zip(self._features, attention, strict=False):
            self._writer.add_scalar(f"attention/{clip(name)}", float(weight), line.epoch)
        for part, norm in norms.items():
            self._writer.add_scalar(f"norm/{part}", norm, line.epoch)

    def revised(self, revision: Revision) -> None:
        """One line: it may be why training takes longer."""
        say(
            f"memory    ran out ({revision.reason}): on from epoch {revision.epoch} in parts of {revision.micro_batch} rows, not {revision.micro_batch_before}; a step takes as many as before"
        )

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def watching(title: str, plan: Plan, folder: Path | None) -> Iterator[Curves]:
    """Watch one training: a bar where stderr is a terminal, one line where it is not."""
    show = console.is_terminal and not console.quiet
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
        transient=True,
        disable=not show,
    )
    with bar:
        task = bar.add_task(title, total=plan.execution.steps, loss="")
        curves = Curves(plan, folder, bar if show else None, task)
        try:
            yield curves
        finally:
            curves.close()
