"""The files of a stream: their rows in order, which of them a champion has learned from, and which ones it is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from abi.adapting.stream import in_order
from abi.data.memory import hold
from abi.data.reader import Reader
from abi.data.taught import grown_from
from abi.errors import DataError, WorkspaceError, clip, listed
from tasks.data import open_reader
from tasks.progress import say
from tasks.snapshot import fetch_snapshot

if TYPE_CHECKING:
    from abi.data.table import Tabular
    from abi.problem import DataFile, Problem, Snapshot
    from tasks.monitoring import Champion
    from tasks.stage import Call


@dataclass(frozen=True)
class StreamFile:
    """One of them.

    Attributes:
        file: its identity.
        stored: its rows as they stand in it.
        rows: these in order, those without a time left out.
        numbers: where each of `rows` stands in `stored`.
    """

    file: DataFile
    stored: Tabular
    rows: pa.Table
    numbers: Int64[np.ndarray, " rows"]


def stream_files(call: Call, snapshot: Snapshot) -> list[StreamFile]:
    """The files of a snapshot, by the column of times that the settings name.

    Raises:
        UsageError: there is no such column, or it has no times.
        DataError: too many rows have no time; or the files differ in their columns.
    """
    found = list[StreamFile]()
    moved = False
    tables = (table for table in fetch_snapshot(call.ws, snapshot, call.settings.tracking.remote) if table is not None)
    for file, stored in zip(snapshot.files, tables, strict=True):
        rows, numbers, fell = in_order(stored, call.settings)
        found.append(StreamFile(file, stored, rows, numbers))
        moved = moved or fell
    if moved:
        say(f"adapt     rows are followed by {clip(str(call.settings.data.ordering))!r}, not as they stand in the file")
    _expect_alike(found)
    return found


def joined(files: Sequence[StreamFile]) -> pa.Table:
    """All rows, each file's after those of the one before."""
    return pa.concat_tables([one.rows for one in files], promote_options="permissive")


def learned_rows(
    files: Sequence[StreamFile], champion: Champion, fetch: Callable[[DataFile], Tabular | None]
) -> int:  # fmt: skip
    """How many rows the stream has up to the last one that the champion learned from; none of the later ones has taught it.

    A file is known by its content; one that has grown since, by the rows that it begins with. A champion that followed a
    stream learned from all of it, another one from its training file.

    Args:
        files: of the stream.
        champion: whose training files count.
        fetch: gives the table of such a file, None where it is not at hand.
    """
    known = champion.problem.snapshot.files
    known = known[:1] if champion.along is None else known
    end = begin = 0
    for one in files:
        count = max((_begins(one, file, champion.problem, fetch) for file in known), default=0)
        places = np.flatnonzero(one.numbers < count)
        end = begin + int(places[-1]) + 1 if len(places) else end
        begin += len(one.numbers)
    return end


def fetcher(call: Call, champion: Champion) -> Callable[[DataFile], Tabular | None]:
    """Gives the champion's files where this machine or the remote has them."""
    snapshot = champion.problem.snapshot

    def fetch(file: DataFile) -> Tabular | None:
        try:
            return fetch_snapshot(call.ws, replace(snapshot, files=(file,)), call.settings.tracking.remote)[0]
        except WorkspaceError:
            return None

    return fetch


def reference_reader(call: Call, champion: Champion) -> Reader:
    """The rows that the champion's reference was made of: all training rows, or, along a stream, the labelled ones of its last window.

    Raises:
        WorkspaceError: they are not at hand.
        DataError, UsageError: they cannot be put in order, as in `stream_files`.
    """
    problem = champion.problem
    if champion.along is None:
        return open_reader(call, problem)
    rows = joined(stream_files(call, problem.snapshot))
    labelled = np.flatnonzero(pc.is_valid(rows[problem.schema.target]).to_numpy())
    last = labelled[-champion.reference.rows :]
    return Reader(problem, hold(rows.take(pa.array(last))))


def _begins(one: StreamFile, known: DataFile, problem: Problem, fetch: Callable[[DataFile], Tabular | None]) -> int:
    """How many rows of a file are those of a known one, from its first on."""
    if one.file.sha256 == known.sha256:
        return one.stored.rows
    earlier = fetch(known) if known.rows < one.stored.rows else None
    return earlier.rows if earlier is not None and grown_from(one.stored, problem, earlier) else 0


def _expect_alike(files: Sequence[StreamFile]) -> None:
    """See that later files have the first one's columns, with values of the same kind.

    Raises:
        DataError: one does not.
    """
    first = files[0].rows.schema
    for one in files[1:]:
        lacking = [name for name in first.names if name not in one.rows.schema.names]
        if lacking:
            msg = f"Expected the columns of the first file in the second one, got no {listed(lacking)}: add {'it' if len(lacking) == 1 else 'them'}, or take {'it' if len(lacking) == 1 else 'them'} out of the first."
            raise DataError(msg)
        for name in first.names:
            pair = first.field(name), one.rows.schema.field(name)
            try:
                pa.unify_schemas([pa.schema([field]) for field in pair], promote_options="permissive")
            except pa.ArrowTypeError:
                msg = f"Expected values of one kind in column {clip(name)!r} of both files, got {pair[0].type} in the first and {pair[1].type} in the second: write them alike."
                raise DataError(msg) from None
