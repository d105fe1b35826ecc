"""Results on a terminal, or on what takes its place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tasks.stdout import print_whole, stdout_console
from tasks.terminal import print_table

VERDICT = """
import sys
from tasks.terminal import print_table
sys.stdin.readline()
print_table(["what"], [["drift"]])
print_table(["what"], [["once more"]])
sys.exit(4)
"""


def test_a_reader_that_has_gone_changes_no_exit_code() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", VERDICT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        said = process.stderr.read()
        assert (process.wait(timeout=120), said) == (4, b"")


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_figures_are_never_cut_and_words_give_way(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [("a feature with many words", "1.75 ms", "-0.0017", "champion"), ("short", "28.8k", "[0.91, 0.97]", "")]
    print_table(["what it is", "per row", "vs the even split", "alias"], rows, numbers={1, 2}, whole={3})
    lines = capsys.readouterr().out.splitlines()
    assert all(any(figure in line for line in lines) for row in rows for figure in row[1:])
    assert all(any(word in line for line in lines) for word in rows[0][0].split())


@pytest.mark.parametrize("columns", [30, 45, 60])
def test_figures_in_a_panel_are_never_cut(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [
        ("a round of boosting, 95th percentile", "163 ms", "1.75 ms", "no limit"),
        ("memory", "525 KiB", "–", "4 GiB"),
    ]
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(("cost", "planned", "measured", "envelope")):
        table.add_column(name, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_whole(stdout_console(no_color=True), Panel(Group(Text("one line"), table), padding=(1, 2)))
    lines = capsys.readouterr().out.splitlines()
    assert all(any(figure in line for line in lines) for row in rows for figure in row[1:])
    assert all(any(word in line for line in lines) for word in rows[0][0].split())
    assert len({len(line) for line in lines}) == 1
