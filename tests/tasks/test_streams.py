"""The files of a stream: order, what a champion has learned of them, and the rows that it is held against."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from abi.config import load_config
from abi.data.memory import hold
from abi.errors import DataError
from abi.outcomes import Along
from abi.problem import DataFile, Feature, Problem, Schema, Snapshot, Split
from tasks.monitoring import Champion
from tasks.snapshot import take_snapshot
from tasks.stage import Call
from tasks.streams import StreamFile, fetcher, joined, learned_rows, reference_reader, stream_files
from tasks.workspace import Workspace

SCHEMA = Schema(
    target="y", task="binary", classes=("no", "yes"), set_aside=(), features=(Feature(name="a", column="a", kind="numeric", distinct=40, missing_share=0.0),),
)  # fmt: skip


def rows_of(name: str, rows: int = 10) -> pd.DataFrame:
    random = np.random.default_rng(ord(name))
    return pd.DataFrame({"a": random.normal(size=rows), "y": random.choice(["no", "yes"], rows)})


def file_of(frame: pd.DataFrame, numbers: np.ndarray | None = None) -> StreamFile:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    numbers = np.arange(len(frame)) if numbers is None else numbers
    content = str(pd.util.hash_pandas_object(frame).sum())
    file = DataFile(role="train", format="csv", md5=content, sha256=content, size_bytes=1, rows=len(frame))
    return StreamFile(file, hold(table), table.take(pa.array(numbers)), numbers)


def champion_of(*files: StreamFile, followed: bool) -> Champion:
    problem = Problem(
        snapshot=Snapshot(files=tuple(one.file for one in files)),
        schema=SCHEMA,
        split=Split(seed=0, validation=0.0, test=0.0),
    )
    return mock.Mock(spec=Champion, problem=problem, along=mock.Mock(spec=Along) if followed else None)


@pytest.mark.parametrize(
    ("followed", "learned", "stream", "rows"),
    [
        (False, "ab", "a", 10),
        (False, "ab", "ac", 10),
        (False, "ab", "bc", 0),  # it was tested on b
        (True, "ab", "b", 10),
        (True, "ab", "bc", 10),
        (True, "ab", "cb", 20),
        (True, "a", "c", 0),
    ],
)
def test_a_stream_starts_after_the_last_file_that_the_champion_learned_from(followed, learned, stream, rows):
    files = {name: file_of(rows_of(name)) for name in "abc"}
    champion = champion_of(*(files[name] for name in learned), followed=followed)
    assert learned_rows([files[name] for name in stream], champion, mock.Mock(return_value=None)) == rows


def test_of_a_file_that_has_grown_the_first_rows_were_learned():
    known = file_of(rows_of("a"))
    grown = file_of(pd.concat([rows_of("a"), rows_of("b", 5)], ignore_index=True))
    champion = champion_of(known, followed=False)
    assert learned_rows([grown], champion, mock.Mock(return_value=known.stored)) == 10
    assert learned_rows([file_of(rows_of("c")), grown], champion, mock.Mock(return_value=known.stored)) == 20
    assert learned_rows([grown], champion, mock.Mock(return_value=None)) == 0  # it is not at hand
    other = file_of(pd.concat([rows_of("b"), rows_of("a")], ignore_index=True))
    assert learned_rows([other], champion, mock.Mock(return_value=known.stored)) == 0


def test_learned_rows_are_counted_in_the_order_of_the_stream():
    known = file_of(rows_of("a", 4))
    frame = pd.concat([rows_of("a", 4), rows_of("b", 4)], ignore_index=True)
    # rows 2 and 5 of the file have no time; the file's row 3 comes fifth
    grown = file_of(frame, np.array([0, 1, 4, 6, 3, 7]))
    assert learned_rows([grown], champion_of(known, followed=True), mock.Mock(return_value=known.stored)) == 5


@pytest.fixture
def call(tmp_path):
    settings = {"data.order": "when"}
    return Call.of(Workspace.open(tmp_path / "ws"), "shop", load_config(None, settings, ambient=False))


def timed(rows: int, seed: int, start: str) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    when = pd.date_range(start, periods=rows, freq="h").astype(str)
    return pd.DataFrame({"when": when, "a": random.normal(size=rows), "y": random.choice(["no", "yes"], rows)})


def test_what_a_followed_champion_is_held_against_are_the_last_labelled_rows(call, tmp_path):
    first, second = timed(40, 0, "2024-01-01"), timed(40, 1, "2024-02-01")
    second.loc[30:34, "y"] = None
    first.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False)
    second.sample(frac=1, random_state=0).to_csv(tmp_path / "b.csv", index=False)
    snapshot = take_snapshot(call.ws, tmp_path / "a.csv", tmp_path / "b.csv", None)
    champion = champion_of(followed=True)
    champion.problem = Problem(snapshot=snapshot, schema=SCHEMA, split=Split(seed=0, validation=0.0, test=0.0))
    champion.reference = mock.Mock(rows=50)
    found = reference_reader(call, champion).load("train")
    both = pd.concat([first, second])
    assert found.numeric[:, 0].tolist() == pytest.approx(both[both["y"].notna()]["a"].tolist()[-50:])
    assert fetcher(call, champion)(snapshot.files[1]).rows == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="a"), "Expected the columns of the first file in the second one, got no 'a': add it"),
        (lambda t: t.assign(a="many"), "Expected values of one kind in column 'a' of both files, got double in the first and"),
    ],
)  # fmt: skip
def test_files_of_a_stream_have_the_same_columns(call, tmp_path, change, said):
    timed(40, 0, "2024-01-01").to_csv(tmp_path / "a.csv", index=False)
    change(timed(40, 1, "2024-02-01")).to_csv(tmp_path / "b.csv", index=False)
    snapshot = take_snapshot(call.ws, tmp_path / "a.csv", tmp_path / "b.csv", None)
    with pytest.raises(DataError) as error:
        stream_files(call, snapshot)
    assert said in str(error.value)


def test_a_column_of_whole_numbers_and_one_of_fractions_are_alike(call, tmp_path):
    timed(40, 0, "2024-01-01").assign(a=3).to_csv(tmp_path / "a.csv", index=False)
    timed(40, 1, "2024-02-01").to_csv(tmp_path / "b.csv", index=False)
    snapshot = take_snapshot(call.ws, tmp_path / "a.csv", tmp_path / "b.csv", None)
    assert joined(stream_files(call, snapshot)).num_rows == 80
