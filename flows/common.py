"""Flags that every command takes. Light: the command line reads this before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Flags that every command takes.

    Attributes:
        workspace: Folder for everything that is kept (default: $ABI_WORKSPACE or ./.abi).
        config: Settings file (default: abi.yaml in this folder, where there is one).
        set: A setting, as section.key=value; may be repeated.
        seed: Seed of the split and of every random choice.
        json: Print one JSON document on stdout, and nothing else there.
        quiet: Say nothing on stderr but errors, and print no summary of what was done; what a command is asked for is still printed.
        verbose: Show tracebacks and the libraries' own logs.
        no_color: No colours.
    """

    workspace: Annotated[Path | None, Parameter(env_var="ABI_WORKSPACE")] = None
    config: Path | None = None
    set: Annotated[list[str] | None, Parameter(negative="")] = None
    seed: int | None = None
    json: Annotated[bool, Parameter(negative="")] = False
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="")] = False
    no_color: Annotated[bool, Parameter(negative="")] = False
