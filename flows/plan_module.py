"""`abi plan --module`: how to run any torch module. Light: the command line reads the flags before anything else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from abi.errors import PlanInfeasible, UsageError, clip

if TYPE_CHECKING:
    from flows.common import Common


def whole(_: type, tokens: Sequence[Token]) -> int:
    """A whole number as it is written: 1.5 is not taken for 2."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?\d{1,30}", text):
        msg = f"Expected a whole number after {tokens[0].keyword}, got '{clip(text)}': write it in digits alone."
        raise ValueError(msg)
    return int(text)


@Parameter(name="*")
@dataclass(frozen=True)
class ModuleFlags:
    """What is said of a module.

    Attributes:
        module: A function without arguments that gives a torch.nn.Module, as package:factory.
        batch: Its arguments, as 'x=f32[B,128]' or 'ids=i64[B,64]<30522,labels=i64[B]<2'; B is the number of rows.
        loss: A function of its output and arguments, as package:function (default: the output's loss, or its mean square).
        optimizer: sgd, adamw, adafactor, or package:function of the parameters.
        gpus: Devices that may be used, as 2xL4, auto or cpu; they need not be here.
        global_batch: Rows of one optimizer step over all devices, which stay what is asked for (default: 256; where attention is
            planned for, what its rows ask for).
        steps: Optimizer steps of the training.
        objective: What to rank by: throughput (the default), energy, cost or memory.
        what_if: Another envelope to solve for as well, as memory=16GiB,gpus=2; may be repeated.
        measure: Also run a few steps of the plan on this machine, show predicted beside measured, and keep it for later plans.
        explain: Also say what a little more or less of each limit changes, and which alternatives lost.
    """

    module: str | None = None
    batch: str | None = None
    loss: str | None = None
    optimizer: str = "adamw"
    gpus: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    global_batch: Annotated[int | None, Parameter(allow_leading_hyphen=True, converter=whole)] = None
    steps: Annotated[int, Parameter(allow_leading_hyphen=True, converter=whole)] = 1000
    objective: str | None = None
    what_if: Annotated[list[str] | None, Parameter(negative="")] = None
    measure: Annotated[bool, Parameter(negative="")] = False
    explain: Annotated[bool, Parameter(negative="")] = False


def is_asked(source: str | None, asked: ModuleFlags) -> bool:
    """Whether a module is to be planned, and not what `abi fit` printed.

    Raises:
        UsageError: it is neither, or both.
    """
    if asked.module is None and source is None:
        msg = "Expected what `abi fit --json` printed, or --module package:factory, got neither: name one."
        raise UsageError(msg)
    plain = ModuleFlags()
    rest = replace(asked, gpus=None, global_batch=None, objective=None, what_if=None, explain=False)
    if source is not None and rest != plain:
        named = [f.name for f in fields(rest) if getattr(rest, f.name) != getattr(plain, f.name)]
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        msg = f"Expected either {clip(source)} or the flags of a module, got both it and {flags}: leave one out."
        raise UsageError(msg)
    return asked.module is not None


def plan(asked: ModuleFlags, budget: list[str], common: Common) -> None:
    """Trace the module, decide, explain, and answer what if."""
    from abi.documents import document
    from abi.execution.types import GLOBAL_BATCH
    from abi.execution.what_if import difference
    from flows.session import emit, settings_of, workspace_of
    from tasks import progress
    from tasks.execution import Asked, plans
    from tasks.trial import expect_measurable, measure, show_measured
    from tasks.workspace import Workspace

    config = settings_of(common, [])
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    wanted = Asked(
        module=asked.module or "",
        batch=_needed(asked.batch, "--batch 'x=f32[B,128]'"),
        global_batch=GLOBAL_BATCH if asked.global_batch is None else asked.global_batch,
        steps=asked.steps,
        optimizer=asked.optimizer,
        loss=asked.loss,
        gpus=(config.training.gpus or "auto") if asked.gpus is None else asked.gpus,
        objective=asked.objective or "throughput",
        budget=tuple(budget),
        what_if=tuple(asked.what_if or ()),
    )
    ws = Workspace.open(workspace_of(common))
    if asked.measure:
        expect_measurable(ws, config, wanted)
    answers = plans(ws, config, wanted)
    first = next(answers)
    try:
        other, refused = next(answers, None), None
    except PlanInfeasible as error:
        other, refused = None, error
    measured = measure(ws, wanted, first) if asked.measure else None
    if common.json:
        also = {} if other is None else {"what_if": document(other), "difference": difference(first, other)}
        also |= {} if measured is None else {"measured": measured.to_json()}
        emit(document(first) | also)
    elif not common.quiet:
        from tasks.execution_view import show_change, show_plan

        show_plan(first, explain=asked.explain, no_color=common.no_color)
        if measured is not None:
            show_measured(first, measured, no_color=common.no_color)
        if other is not None:
            show_change(first, other, no_color=common.no_color)
    if refused is not None:
        raise refused


def _needed(value: Any, example: str) -> Any:
    if value is None:
        msg = f"Expected {example} beside --module, got none: say it."
        raise UsageError(msg)
    return value
