"""Lines and tables that stories are told in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table

from abi.types import Cost
from abi.units import show_bytes, show_count, show_seconds
from tasks.stdout import print_whole, stdout_console

SHOWN = 40
Part = Table | str


def show(parts: Sequence[Part], *, no_color: bool = False) -> None:
    """Print lines and tables."""
    console = stdout_console(no_color=no_color)
    for part in parts:
        if isinstance(part, Table):
            print_whole(stdout_console(no_color=no_color), part)
        else:
            console.print(part, markup=False, soft_wrap=True)


def new_table(*columns: str) -> Table:
    """A table whose first column is text and whose others are figures."""
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    return table


def cost_line(head: str, pair: tuple[Cost, Cost]) -> str:
    """What both cost, in one line."""
    shown: dict[str, Callable[[float | int], str]] = {
        "parameters": show_count,
        "memory_bytes": show_bytes,
        "train_time_s": show_seconds,
        "latency_s": show_seconds,
    }
    names = {"memory_bytes": "memory", "train_time_s": "training", "latency_s": "per row"}
    told = [
        f"{names.get(name, name)} {both((getattr(pair[0], name), getattr(pair[1], name)), show)}"
        for name, show in shown.items()
    ]
    return f"{head}: {', '.join(told)}."


def both(pair: tuple[Any, Any], show: Any = str) -> str:
    """``'8 -> 12'``, or one of them where they are the same."""
    one, other = ("none" if value is None else show(value) for value in pair)
    return one if one == other else f"{one} -> {other}"


def left_out(count: int) -> list[str]:
    """That there are more rows than are shown."""
    return [f"… and {count - SHOWN} more (--json has all)"] if count > SHOWN else []
