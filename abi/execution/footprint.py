"""What a module costs at any number of rows, from a few traces of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from abi.errors import Untraceable
from abi.execution.lines import alive_lines, call_lines, rounded_up, upper_line, value_at
from abi.execution.recorder import Recording
from abi.execution.recurrent import above
from abi.execution.step import PHASES, Training
from abi.execution.target import PROCESSOR, Target
from abi.execution.trace import record
from abi.execution.types import Footprint, PhaseBound, PhaseName

ROWS: Final = {"cpu": (2, 8, 32), "gpu": (2, 32, 512)}
"""Numbers of rows that are traced; a GPU's kernels take their workspace from thousands of positions on."""
MOST_ROWS: Final = 8192
WORKSPACE: Final = 0.01
"""Share that kernels take besides their outputs, where no formula says so."""
WHOLE_BLOCKS: Final = 0.02
"""Share that CUDA's allocator gives out beyond what is asked for: blocks that it does not split."""
BENT: Final = 0.002
"""A trace this far above the lines says that memory is not linear in the rows: more are traced."""


def footprint(
    training: Training, *, rows: Sequence[int] | None = None, target: Target = PROCESSOR, trial_time_s: float = 120.0
) -> Footprint:
    """Trace a module at a few numbers of rows; where that cannot be done, measure it in a process of its own.

    Args:
        training: what is trained and how.
        rows: numbers of rows to trace (`ROWS` where None); more are added where memory is not linear in them.
        target: the device that it is for.
        trial_time_s: seconds that a measured trial may take.

    Raises:
        UsageError: the module can neither be traced nor run.
    """
    try:
        return _traced(training, sorted(rows or ROWS[target.kind]), target)
    except Untraceable as error:
        from abi.execution.measured import measured_footprint  # noqa: PLC0415 - rarely needed

        return measured_footprint(training, reason=str(error), time_limit_s=trial_time_s)


def phase_bytes(footprint: Footprint, phase: PhaseName, rows: int) -> float:
    """Bytes alive at the peak of a phase."""
    bound = next(bound for bound in footprint.phases if bound.phase == phase)
    return value_at(bound.lines or ((bound.fixed_bytes, bound.row_bytes),), rows)


def peak_bytes(footprint: Footprint, rows: int, *, accumulated: bool = False) -> float:
    """Bytes at the peak of a training step.

    Args:
        footprint: of the module.
        rows: of one micro-batch.
        accumulated: gradients of an earlier micro-batch are there during forward and backward.
    """
    forward, backward, step = (phase_bytes(footprint, phase, rows) for phase in PHASES[:3])
    held = footprint.gradient_bytes if accumulated else 0
    return max(forward + held, backward + held, step)


def bound_bytes(footprint: Footprint, rows: int, *, accumulated: bool = False) -> float:
    """Bytes that a training step takes at most."""
    return peak_bytes(footprint, rows, accumulated=accumulated) * (1 + footprint.margin)


def fitted(
    training: Training,
    recorded: Sequence[Mapping[PhaseName, Recording]],
    rows: Sequence[int],
    sizes: Mapping[str, int],
    margin: float,
) -> Footprint:
    """Lines through recordings at several numbers of rows."""
    over = max(alive_lines([at[phase] for at in recorded], rows)[1] for phase in PHASES)
    phases = [bound_of(phase, [at[phase] for at in recorded], rows) for phase in PHASES]
    return Footprint(
        arithmetic=training.arithmetic,
        checkpointing=training.checkpointing,
        phases=tuple(phases),
        uncounted=_uncounted(recorded),
        margin=rounded_up(max(over, _workspace(recorded)) + margin),
        traced_rows=tuple(rows),
        parameters=sizes["parameters"],
        parameter_bytes=sizes["parameter_bytes"],
        gradient_bytes=sizes["gradient_bytes"],
        optimizer_bytes=sizes["optimizer_bytes"],
    )


def bound_of(phase: PhaseName, recordings: Sequence[Recording], rows: Sequence[int]) -> PhaseBound:
    """One phase at any number of rows, from recordings at these."""
    lines, _ = alive_lines(recordings, rows)
    matrix_flops = upper_line([_total(r, 1, matrix=True) for r in recordings], rows)
    matrix_bytes = upper_line([_total(r, 2, matrix=True) for r in recordings], rows)
    moved = upper_line([_total(r, 2) for r in recordings], rows)
    return PhaseBound(
        phase=phase,
        fixed_bytes=max(0.0, *(fixed for fixed, _ in lines)),
        row_bytes=max(row for _, row in lines),
        matrix_flops_fixed=matrix_flops[0],
        matrix_flops_row=matrix_flops[1],
        moved_bytes_fixed=moved[0],
        moved_bytes_row=moved[1],
        matrix_bytes_fixed=matrix_bytes[0],
        matrix_bytes_row=matrix_bytes[1],
        launches=float(max(r.dispatched for r in recordings)),
        lines=lines,
        calls=call_lines(recordings, rows),
    )


def _traced(training: Training, rows: list[int], target: Target) -> Footprint:
    recorded, sizes = record(training, rows, target=target)
    while _bend(recorded, rows) > BENT and rows[-1] < MOST_ROWS:
        more = [rows[-1] * 4]
        recorded += record(training, more, target=target)[0]
        rows = rows + more
    found = fitted(training, recorded, rows, sizes, WORKSPACE + (WHOLE_BLOCKS if target.kind == "gpu" else 0.0))
    unseen = (
        above((float(sizes["recurrent_bytes"]), float(sizes["recurrent_row_bytes"])), found.phases)
        if target.kind == "cpu"
        else 0.0
    )
    return replace(found, margin=rounded_up(found.margin + unseen), recurrent=unseen > 0) if unseen else found


def _bend(recorded: Sequence[Mapping[PhaseName, Recording]], rows: Sequence[int]) -> float:
    """How far the last trace lies above the lines through those before it."""
    if len(rows) <= 2:  # noqa: PLR2004 - a line goes through any two
        return 0.0
    bend = 0.0
    for phase in PHASES:
        lines, _ = alive_lines([at[phase] for at in recorded[:-1]], rows[:-1])
        bend = max(bend, recorded[-1][phase].peak_bytes / value_at(lines, rows[-1]) - 1)
    return bend


def _workspace(recorded: Sequence[Mapping[PhaseName, Recording]]) -> float:
    """How far the most workspace lifts the peak of a training step, relative to it."""
    most = 0.0
    for at in recorded:
        step = [at[phase] for phase in PHASES[:3]]
        most = max(most, max(r.at_most for r in step) / max(r.peak_bytes for r in step) - 1)
    return most


def _total(recording: Recording, place: int, *, matrix: bool = False) -> float:
    return float(sum(costs[place] for costs in recording.operators.values() if costs[4] or not matrix))


def _uncounted(recorded: Sequence[Mapping[PhaseName, Recording]]) -> tuple[str, ...]:
    return tuple(
        sorted(
            {
                name
                for at in recorded
                for recording in at.values()
                for name, costs in recording.operators.items()
                if not costs[3]
            }
        )
    )
