"""Standard output: what results are printed with, whatever it can show, and whether or not anyone still reads it. Light."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import textwrap

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

SHOWN_AS = {"\u2212": "-", "–": "-", "—": "-", "…": "...", "→": "->", "×": "x", "≤": "<=", "≥": ">="}
FIGURE = 28  # columns that a figure, an interval or a pair of both take at most
WORD = 14
GAP = 2
BORDER = 2
_HANDLER = "abi.shown"


class _Stdout(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read has gone: the command ends with its own exit code, not with rich's 1."""
        to_nowhere()


def stdout_console(*, no_color: bool) -> Console:
    """What results are printed with: names as they are, whatever colours or emoji they would spell."""
    return _Stdout(no_color=no_color, highlight=False, emoji=False)


def print_whole(console: Console, part: Table | Panel) -> None:
    """Print a table, or a panel with some, whose figures are never cut or broken: words give way, and where that is not enough, lines grow longer.

    Figures are the columns that stand to the right, and those that are not to be wrapped.
    """
    frame = 0
    tables = [part] if isinstance(part, Table) else []
    if isinstance(part, Panel):
        _, right, _, left = Padding.unpack(part.padding)
        frame = right + left + BORDER
        tables = [one for one in getattr(part.renderable, "renderables", ()) if isinstance(one, Table)]
    needed = max((_fitted(table, console.width - frame) for table in tables), default=0)
    console.width = max(console.width, needed + frame)
    console.print(part, crop=False)


def _fitted(table: Table, width: int) -> int:
    """What the table takes at least; where it is wider than there is room, its words are made to give way."""
    gaps = GAP * (len(table.columns) - 1)
    if sum(max(_widest(column), cell_len(str(column.header))) for column in table.columns) + gaps > width:
        for column in table.columns:
            if _is_whole(column):
                column.header = textwrap.fill(str(column.header), max(_least(column), 1), break_long_words=False)
                column.no_wrap = True
    return sum(map(_least, table.columns)) + gaps


def _is_whole(column: Column) -> bool:
    return column.no_wrap or (column.justify == "right" and _widest(column) <= FIGURE)


def _widest(column: Column) -> int:
    return max((Text.from_markup(str(cell)).cell_len for cell in column.cells), default=0)


def _least(column: Column) -> int:
    """What a column takes at least: the whole of each figure, or the longest word of text up to some length."""
    word = max((cell_len(word) for cell in column.cells for word in str(cell).split()), default=0)
    heading = max((cell_len(word) for word in str(column.header).split()), default=0)
    return max(_widest(column), heading) if _is_whole(column) else min(word, WORD)


def prepare() -> None:
    """See that a sign which standard output or standard error cannot show ends no command; and there is always one."""
    codecs.register_error(_HANDLER, _shown)
    if sys.stdout is None:  # closed by who called; the next file opened would take its number
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """A sign in plain letters where there are some, as a Python escape where not."""
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in SHOWN_AS:
        return SHOWN_AS[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)


def put(text: str) -> None:
    """Write what another program reads: always UTF-8. It is flushed, so that what stops it is known here.

    Whoever read may have gone: that is no error, and changes no exit code.
    """
    try:
        sys.stdout.flush()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        to_nowhere()


def to_nowhere() -> None:
    """Let what is still printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refusal() -> str | None:
    """Why standard output does not take what was printed; None where it does, or where its reader has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        to_nowhere()
    except OSError as error:
        to_nowhere()
        return (error.strerror or errno.errorcode.get(error.errno or 0, "an error")).lower()
    return None
