"""Results on a terminal, or on what takes its place."""

from __future__ import annotations

import os
import subprocess
import sys

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
