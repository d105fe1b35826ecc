from __future__ import annotations

import gzip
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.workspace import Workspace

HEADER = "size,weight,label\n"


def rows(count: int = 60) -> str:
    random = np.random.default_rng(1)
    size, weight = random.normal(size=(2, count))
    return "".join(f"{s:.4f},{w:.4f},{'yes' if s + w > 0 else 'no'}\n" for s, w in zip(size, weight, strict=True))


def gzipped(text: str, keep: float = 1.0) -> bytes:
    packed = gzip.compress(text.encode(), mtime=0)
    return packed[: int(len(packed) * keep)]


BAD_FILES = {
    "empty": (b"", ["empty"]),
    "blank": (b"\n\n", []),
    "header only": (HEADER.encode(), ["row"]),
    "truncated gzip": (gzipped(HEADER + rows(2000), keep=0.6), ["gzip"]),
    "header of a gzip": (gzipped(HEADER + rows())[:12], ["gzip"]),
    "duplicate names": (b"size,size,label\n" + rows().encode(), ["'size'"]),
    "a name twice, with the target": (b"size,label,label\n" + rows().encode(), ["'label'"]),
    "one class": (HEADER.encode() + b"1,2,yes\n" * 30, ["'label'", "two values"]),
    "no target at all": (HEADER.encode() + b"1,2,\n" * 30, ["'label'"]),
    "nothing but nulls": (HEADER.encode() + b",,yes\n,,no\n" * 30, []),
    "ragged": (HEADER.encode() + rows().encode() + b"1,2,3,4,yes\n", ["row 62"]),
    "not text": (bytes(range(256)) * 40, []),
    "half a Parquet file": (b"PAR1" + bytes(500), ["Parquet"]),
    "latin 1": ("größe,label\n".encode("latin-1") + b"1,yes\n2,no\n" * 30, []),
    "the target alone": (b"label\n" + b"yes\nno\n" * 30, []),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_sentence(abi, versions, tmp_path, what):
    content, said = BAD_FILES[what]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    answer = abi("run", path, "--target", "label", "--workspace", tmp_path / "ws", "--json")
    assert answer.code == 3
    for word in said:
        assert word in answer.sentence
    assert versions(tmp_path / "ws") == 0


def test_what_is_no_file_at_all(abi, tmp_path):
    for path, word, code in ((tmp_path / "none.csv", "none.csv", 2), (tmp_path, "folder", 3)):
        answer = abi("run", path, "--target", "label", "--workspace", tmp_path / "ws")
        assert answer.code == code
        assert word in answer.sentence


def test_a_wrong_target_names_the_near_ones(abi, data, tmp_path):
    answer = abi("run", data, "--target", "lable", "--workspace", tmp_path / "ws")
    assert answer.code == 2
    assert "did you mean 'label'?" in answer.sentence
    answer = abi("run", data, "--target", "zzz", "--workspace", tmp_path / "ws")
    assert answer.code == 2
    assert "'size'" in answer.sentence


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_handful_of_rows(abi, versions, tmp_path, count):
    path = tmp_path / "few.csv"
    path.write_text("size,label\n" + "".join(f"{i}.5,{'yes' if i % 2 else 'no'}\n" for i in range(count)))
    answer = abi("run", path, "--target", "label", "--workspace", tmp_path / "ws")
    assert answer.code == 3
    assert "rows" in answer.sentence
    assert versions(tmp_path / "ws") == 0


def test_infinite_values_stop_the_data_check(abi, frame, tmp_path):
    table = frame()
    table.loc[7, "size"] = np.inf
    table.to_parquet(tmp_path / "shop.parquet")
    answer = abi(
        "check",
        tmp_path / "shop.parquet",
        "--target",
        "label",
        "--workspace",
        tmp_path / "ws",
        "-q",
        "--set",
        "checks.data_docs=false",
    )
    assert answer.code == 3
    assert "'size'" in answer.sentence
    assert "finite" in answer.sentence


def test_words_among_numbers_stop_the_data_check(abi, frame, tmp_path):
    table = frame().astype({"size": object})
    table.loc[7, "size"] = "twelve"
    table.to_csv(tmp_path / "shop.csv", index=False)
    answer = abi(
        "check",
        tmp_path / "shop.csv",
        "--target",
        "label",
        "--workspace",
        tmp_path / "ws",
        "-q",
        "--set",
        "checks.data_docs=false",
    )
    assert answer.code == 3
    assert "'size'" in answer.sentence
    assert "twelve" in answer.sentence


def test_a_test_file_with_other_columns(abi, frame, tmp_path):
    frame().to_csv(tmp_path / "shop.csv", index=False)
    for other in (
        frame().drop(columns="size"),
        frame().drop(columns="label"),
        frame().rename(columns={"size": "Size"}),
    ):
        other.to_csv(tmp_path / "later.csv", index=False)
        answer = abi(
            "run",
            tmp_path / "shop.csv",
            "--target",
            "label",
            "--test",
            tmp_path / "later.csv",
            "--workspace",
            tmp_path / "ws",
        )
        assert answer.code == 3
        assert "'label'" in answer.sentence or "'size'" in answer.sentence


def test_a_metric_that_the_task_lacks(abi, frame, tmp_path):
    frame().to_csv(tmp_path / "shop.csv", index=False)
    answer = abi(
        "run",
        tmp_path / "shop.csv",
        "--target",
        "label",
        "--set",
        "evaluation.metric=rmse",
        "--workspace",
        tmp_path / "ws",
    )
    assert answer.code == 2
    assert "a binary target for evaluation.metric, got 'rmse': choose 'auto', 'roc_auc'" in answer.sentence


def test_a_test_file_with_an_unknown_class(abi, frame, tmp_path):
    frame().to_csv(tmp_path / "shop.csv", index=False)
    frame().replace({"label": {"yes": "perhaps"}}).to_csv(tmp_path / "later.csv", index=False)
    answer = abi(
        "run",
        tmp_path / "shop.csv",
        "--target",
        "label",
        "--test",
        tmp_path / "later.csv",
        "--workspace",
        tmp_path / "ws",
    )
    assert answer.code == 3
    assert "perhaps" in answer.sentence


def test_an_envelope_nothing_fits_into_names_the_nearest_that_do(abi, versions, data, quick, tmp_path, without_prefect):
    flags = ["--target", "label", "--workspace", tmp_path / "ws", "-q", *quick]
    for little in ("parameters=2", "memory=16KiB", "latency=1us", "train_time=1us", "train_time=0.1us"):
        answer = abi("run", data, *flags, "--budget", little)
        assert answer.code == 5, answer
        assert f"got {little.partition('=')[0]}=" in answer.sentence
    assert versions(tmp_path / "ws") == 0

    named = re.findall(r"(train_time=[\w.]+) \(", answer.sentence.partition("The nearest that fit: ")[2])
    assert len(named) == 3
    enough = abi("run", data, *flags, "--budget", named[0])
    assert enough.code == 0, enough.err
    assert versions(tmp_path / "ws") == 1


@pytest.fixture
def full_disk(tmp_path: Path):
    """A place of a few MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(abi, data, full_disk):
    (full_disk / "filler").write_bytes(bytes(2_900_000))
    for verb in ("check", "run"):
        answer = abi(verb, data, "--target", "label", "--workspace", full_disk / "ws")
        assert answer.code == 1
        assert "no space left" in answer.sentence
    (full_disk / "filler").unlink()
    assert (
        abi("check", data, "--target", "label", "--workspace", full_disk / "ws", "--set", "checks.data_docs=false").code
        == 0
    )


def test_a_read_only_workspace(abi, data, full_disk):
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    answer = abi("run", data, "--target", "label", "--workspace", full_disk / "ws")
    assert answer.code == 1
    assert "read-only" in answer.sentence
    assert "--workspace" in answer.sentence
    subprocess.run(["mount", "-o", "remount,rw", full_disk], check=True)
    Workspace.open(full_disk / "ws")
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    answer = abi("check", data, "--target", "label", "--workspace", full_disk / "ws")
    assert answer.code == 1
    assert "read-only" in answer.sentence
    assert "MEND  workspace" in abi("doctor", "--workspace", full_disk / "ws").out


def test_a_file_where_the_workspace_should_be(abi, data, tmp_path):
    (tmp_path / "ws").touch()
    answer = abi("run", data, "--target", "label", "--workspace", tmp_path / "ws")
    assert answer.code == 1
    assert "--workspace" in answer.sentence


def test_a_place_for_outputs_that_is_a_file_is_told_before_anything_runs(abi, data, tmp_path):
    (tmp_path / "out").touch()
    answer = abi("run", data, "--target", "label", "--workspace", tmp_path / "ws", "--out", tmp_path / "out")
    assert answer.code == 1
    assert str(tmp_path / "out") in answer.sentence


@pytest.mark.slow
def test_two_runs_at_once(abi, versions, background, plain, data, quick, tmp_path):
    workspace = tmp_path / "ws"
    flags = ["--target", "label", "--workspace", workspace, *quick]
    first = background("run", data, *flags, "--json", before=plain)
    while not (workspace / "lock.json").is_file():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    began = time.perf_counter()
    second = abi("run", data, *flags)
    assert time.perf_counter() - began < 2
    assert second.code == 1
    assert f"process {first.pid}" in second.sentence
    assert "--workspace" in second.sentence
    out, err = first.communicate()
    assert first.returncode == 0, err
    assert '"status": "completed"' in out
    assert versions(workspace) == 1


def test_a_column_equal_to_the_target_runs_and_is_named(abi, versions, frame, quick, tmp_path, without_prefect):
    table = frame()
    table.assign(answer=table["label"]).to_csv(tmp_path / "shop.csv", index=False)
    flags = ["--target", "label", "--workspace", tmp_path / "ws", *quick]
    checked = abi("check", tmp_path / "shop.csv", *flags)
    assert checked.code == 0
    assert "'answer'" in checked.err
    assert "answer" in checked.out
    ran = abi("run", tmp_path / "shop.csv", *flags, "--json")
    assert ran.code == 0, ran.err
    assert "'answer'" in ran.err
    assert ran.json["checks"]["warnings"] >= 1
    assert "answer" in Path(ran.json["report"]).read_text()
    assert versions(tmp_path / "ws") == 1


def test_columns_without_any_value_are_set_aside(abi, frame, quick, tmp_path, without_prefect):
    frame().assign(void=None, blank="").to_csv(tmp_path / "shop.csv", index=False)
    ran = abi("run", tmp_path / "shop.csv", "--target", "label", "--workspace", tmp_path / "ws", *quick, "--json")
    assert ran.code == 0, ran.err
    assert "'void'" in ran.err
    assert "'blank'" in ran.err
    assert set(ran.json["attention"]) == {"size", "weight", "count", "colour", "new"}


def test_nothing_but_columns_without_any_value(abi, frame, tmp_path):
    frame()[["label"]].assign(void=None, blank="").to_csv(tmp_path / "shop.csv", index=False)
    answer = abi("run", tmp_path / "shop.csv", "--target", "label", "--workspace", tmp_path / "ws")
    assert answer.code == 3
    assert "'void'" in answer.sentence


def test_names_of_any_alphabet_and_length(abi, versions, frame, quick, tmp_path, without_prefect):
    names = {
        "size": "größe (см) 🌡",
        "weight": "w" * 500,
        "count": 'a "quoted", <b>name</b>',
        "colour": "色\n行",
        "label": "étiquette/%s",
    }
    table = frame().rename(columns=names).replace({"étiquette/%s": {"yes": "はい", "no": "нет" * 60}})
    folder = tmp_path / "日本 語"
    folder.mkdir()
    table.to_csv(folder / "таблица 1.csv", index=False)
    ran = abi(
        "run",
        folder / "таблица 1.csv",
        "--target",
        names["label"],
        "--workspace",
        folder / "ws",
        *quick,
        "--json",
        "--out",
        folder / "out",
    )
    assert ran.code == 0, ran.err
    assert set(ran.json["attention"]) == {
        names.get(name, name) for name in ("size", "weight", "count", "colour", "new")
    }
    assert "<b>name</b>" not in Path(ran.json["report"]).read_text().split("<script")[0]
    assert versions(folder / "ws") == 1
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'ws' / 'mlflow.db'}")
    predicted = mlflow.pyfunc.load_model(ran.json["model"]["uri"]).predict(table.drop(columns=names["label"]))
    assert set(predicted["prediction"]) <= {"はい", "нет" * 60}


@pytest.mark.slow
def test_five_thousand_columns(command, plain, tmp_path, quick):
    random = np.random.default_rng(0)
    wide = pd.DataFrame(random.normal(size=(60, 5000)), columns=[f"c{i}" for i in range(5000)])
    wide["label"] = np.where(wide["c7"] > 0, "yes", "no")
    wide.to_parquet(tmp_path / "wide.parquet")
    fewer = (
        "training.epochs=1",
        "iterate.rounds=1",
        "training.family=network",
        "attention.temperatures=[0.4]",
        "attention.blend=false",
    )
    short = [word for setting in fewer for word in ("--set", setting)]
    ran = command(
        "run",
        tmp_path / "wide.parquet",
        "--target",
        "label",
        "--workspace",
        tmp_path / "ws",
        *quick,
        *short,
        "--json",
        before=plain,
    )
    assert ran.code == 0, ran.err
    assert len(ran.json["attention"]) == 5000
    assert abs(sum(ran.json["attention"].values()) - 1) < 1e-6
    assert Path(ran.json["report"]).stat().st_size < 500_000


def test_categories_that_only_the_test_file_has(abi, frame, quick, tmp_path, without_prefect):
    frame().to_csv(tmp_path / "shop.csv", index=False)
    frame(seed=2, rows=80).replace({"colour": {"red": "violet", "blue": "mauve"}}).to_csv(
        tmp_path / "later.csv.gz", index=False
    )
    ran = abi(
        "run",
        tmp_path / "shop.csv",
        "--target",
        "label",
        "--test",
        tmp_path / "later.csv.gz",
        "--workspace",
        tmp_path / "ws",
        *quick,
        "--json",
    )
    assert ran.code == 0, ran.err
    assert 0 <= ran.json["metrics"]["roc_auc"] <= 1
    assert ran.json["snapshot"]["rows"] == 240
