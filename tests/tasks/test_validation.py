from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.data.infer import infer_schema
from abi.data.reader import Reader
from abi.errors import DataError, UsageError
from abi.problem import Check, Checks, Pretrained, Problem, Snapshot, Split
from abi.reading import ChecksConfig, DataConfig
from tasks import validation
from tasks.snapshot import _read
from tasks.validation import demand, docs_folder, suite_file, validate
from tasks.workspace import Workspace

QUICK = ChecksConfig(data_docs=False)
Make = Callable[..., Reader]


def frame(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "age": random.integers(17, 90, rows),
            "height": random.normal(170, 10, rows).round(2),
            "city": random.choice(["Oslo", "Rome", "Bonn"], rows),
            "member": random.choice(["true", "false"], rows),
        }
    )
    data["y"] = np.where(data["height"] + random.normal(0, 10, rows) > 170, "yes", "no")
    return data


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws")


@pytest.fixture
def make(ws: Workspace, tmp_path: Path) -> Make:
    """A reader over frames, as if they had come from CSV files."""

    def reader(
        train: pd.DataFrame,
        test: pd.DataFrame | None = None,
        like: Reader | None = None,
        config: DataConfig | None = None,
    ) -> Reader:
        train.to_csv(tmp_path / "train.csv", index=False)
        files = [_read(ws, tmp_path / "train.csv", "train")]
        if test is not None:
            test.to_csv(tmp_path / "test.csv", index=False)
            files.append(_read(ws, tmp_path / "test.csv", "test"))
        from abi.data.table import open_table

        tables = [open_table(ws.tables, file.sha256) for file in files]
        schema = like.problem.schema if like else infer_schema(tables[0], "y", config or DataConfig())
        problem = Problem(
            snapshot=Snapshot(files=tuple(files)), schema=schema, split=Split(seed=0, validation=0.15, test=0.2)
        )
        return Reader(problem, *tables)

    return reader


def found(checks: Checks, name: str, column: str | None = None) -> Check:
    return next(c for c in checks.results if c.name == name and column in (None, c.column))


def site(ws: Workspace, checks: Checks) -> Path:
    return docs_folder(ws, "people", checks.problem, checks.suite_sha256)


def failures(checks: Checks) -> set[tuple[str, str | None, str]]:
    return {(c.name, c.column, c.severity) for c in checks.results if c.status != "passed"}


def test_a_derived_suite_passes_on_its_own_data_and_documents_it(ws: Workspace, make: Make) -> None:
    data = frame()
    data.loc[:39, "height"] = np.nan
    reader = make(data, frame(100, seed=1))
    checks = validate(ws, reader, "people", ChecksConfig())
    assert failures(checks) == set()
    demand(checks, suite_file(ws, "people"))
    assert {"column exists", "type", "missing values", "range", "known values", "known classes", "rows"} <= {
        c.name for c in checks.results
    }
    assert found(checks, "missing values", "height").expected == "at most 20% missing"
    assert found(checks, "missing values", "height").observed == "10% missing"
    assert found(checks, "known values", "city").expected == "at least 99% of the values among 'Bonn', 'Oslo', 'Rome'"
    assert found(checks, "rows").observed == "400"
    pages = list(site(ws, checks).rglob("*.html"))
    assert site(ws, checks) / "index.html" in pages
    assert any("train_rows" in str(page) for page in pages)
    again = validate(ws, reader, "people", QUICK)
    assert again == checks
    assert again.id == checks.id


def test_the_documents_of_each_data_set_stay_beside_those_of_others(ws: Workspace, make: Make) -> None:
    texts = ChecksConfig()
    many, few = (validate(ws, make(frame(rows)), "people", texts) for rows in (400, 300))
    assert site(ws, many) != site(ws, few)
    first = sorted(site(ws, many).rglob("*.html"))
    assert site(ws, many) / "index.html" in first
    again = validate(ws, make(frame(300)), "people", texts)  # in place of those of the same data
    assert site(ws, again) == site(ws, few)
    assert sorted(ws.gx.iterdir()) == [ws.gx / "people"]
    assert (site(ws, few) / "index.html").is_file()
    assert sorted(site(ws, many).rglob("*.html")) == first


@pytest.mark.parametrize(
    "added",
    [
        None,
        "notes.txt",
        "expectations/mine.json",
        "plugins/custom_data_docs/renderers/mine.py",
        "plugins/custom_data_docs/styles/data_docs_custom_styles.css",
        "great_expectations.yml",
    ],
)
def test_the_project_of_an_earlier_release_goes_where_nothing_of_the_user_s_is_in_it(
    ws: Workspace, make: Make, monkeypatch: pytest.MonkeyPatch, added: str | None
) -> None:
    put, earlier = validation._put_in_place, ws.gx / "people" / "gx"

    def as_before(built: Path, place: Path) -> None:
        shutil.copytree(built / "gx", earlier)
        put(built, place)

    with monkeypatch.context() as patch:
        patch.setattr(validation, "_put_in_place", as_before)
        patch.setattr(validation, "tidy", lambda *_: None)
        validate(ws, make(frame()), "people", ChecksConfig())
    if added is not None:
        with (earlier / added).open("a") as file:
            file.write("data_docs_sites: {s3: {}}\n" if added.endswith("yml") else "/* mine */\n")
    checks = validate(ws, make(frame(300)), "people", ChecksConfig())
    assert earlier.exists() == (added is not None)
    assert (site(ws, checks) / "index.html").is_file()


def test_documents_are_those_of_the_data_though_encoders_were_tuned_afterwards(ws: Workspace, make: Make) -> None:
    problem = make(frame()).problem
    encoder = Pretrained.__new__(Pretrained)
    first, *others = problem.schema.features
    tuned = replace(problem, schema=replace(problem.schema, features=(replace(first, encoder=encoder), *others)))
    assert docs_folder(ws, "people", tuned, "a") == docs_folder(ws, "people", problem, "a")
    assert docs_folder(ws, "people", problem, "b") != docs_folder(ws, "people", problem, "a")


def test_names_and_values_of_the_data_are_no_markup_in_the_documents(ws: Workspace, make: Make) -> None:
    script, image = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"
    data = frame().rename(columns={"height": script})
    data["city"] = data["city"].astype(str).replace({"Bonn": image})
    checks = validate(ws, make(data), "people", ChecksConfig())
    assert found(checks, "missing values", script).status == "passed"
    said = "".join(page.read_text() for page in site(ws, checks).rglob("*.html"))
    assert html.escape(script) in said
    assert script not in said
    assert image not in said


def test_an_edited_suite_is_used_and_a_critical_failure_stops(ws: Workspace, make: Make) -> None:
    reader = make(frame())
    first = validate(ws, reader, "people", QUICK)
    path = suite_file(ws, "people")
    suite = json.loads(path.read_bytes())
    edited = next(
        e
        for e in suite["expectations"]
        if e["type"] == "expect_column_values_to_be_between" and e["kwargs"]["column"] == "age"
    )
    edited["severity"] = "critical"
    edited["kwargs"] |= {"min_value": 18, "max_value": 60, "mostly": 1}
    suite["expectations"].append(
        {
            "type": "expect_column_mean_to_be_between",
            "kwargs": {"column": "height", "max_value": 100},
            "severity": "warning",
        }
    )
    path.write_text(json.dumps(suite, indent=2))
    checks = validate(ws, reader, "people", QUICK)
    assert checks.suite_sha256 != first.suite_sha256
    assert failures(checks) == {("range", "age", "critical"), ("column mean to be between", "height", "warning")}
    assert found(checks, "range", "age").expected == "between 18 and 60"
    with pytest.raises(DataError, match=rf"range of 'age': expected between 18 and 60, got .*{re.escape(str(path))}"):
        demand(checks, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expected JSON"),
        ("[]", "list of expectations"),
        ('{"expectations": [], "meta": {"columns": {"a": 1}}}', "list of expectations"),
        ('{"expectations": [{"type": "expect_magic", "kwargs": {}}]}', "number 1, 'expect_magic'"),
        ('{"expectations": [{"type": "expect_column_to_exist", "kwargs": {"colum": "a"}}]}', "number 1"),
        ('{"expectations": [7]}', "number 1"),
        (
            '{"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "meta": {"on": ["train row"]}}]}',
            "meta.on names 'train row', which is none of 'train rows'",
        ),
    ],
)
def test_a_suite_that_cannot_be_used_is_named(ws: Workspace, make: Make, text: str, words: str) -> None:
    reader = make(frame(60))
    ws.write(suite_file(ws, "people"), text.encode())
    with pytest.raises(UsageError, match=f"{words}") as caught:
        validate(ws, reader, "people", QUICK)
    assert str(suite_file(ws, "people")) in str(caught.value)


def test_mixed_types_name_value_row_and_remedy_and_can_be_meant(ws: Workspace, make: Make) -> None:
    data = frame()
    data["height"] = data["height"].astype(object)
    data.loc[7, "height"] = "tall"
    reader = make(data)
    checks = validate(ws, reader, "people", QUICK)
    assert ("columns of mixed types", "height", "critical") in failures(checks)
    with pytest.raises(DataError, match=r"'height' \(1 not a number, such as 'tall' \(row 8\)\).*data\.columns"):
        demand(checks, suite_file(ws, "people"))
    meant = validate(ws, make(data, config=DataConfig(columns={"height": "categorical"})), "people", QUICK, {"height"})
    assert failures(meant) == set()


def test_infinite_values_are_critical(ws: Workspace, make: Make) -> None:
    data = frame()
    data.loc[3, "height"] = np.inf
    checks = validate(ws, make(data), "people", QUICK)
    assert ("columns with infinite values", "height", "critical") in failures(checks)
    assert found(checks, "columns with infinite values").observed == "'height' (1 of 400)"


def test_warnings_name_leak_empty_columns_duplicates_imbalance_and_missing_labels(ws: Workspace, make: Make) -> None:
    data = frame(300).assign(nothing=np.nan)
    data["y"] = ["yes"] * 6 + ["no"] * 294
    data["copy"] = data["y"].map({"yes": 1, "no": 0})
    data = pd.concat([data, data, data], ignore_index=True)
    data.loc[0, "y"] = np.nan
    checks = validate(ws, make(data), "people", QUICK)
    assert failures(checks) == {
        ("strongest single feature", "copy", "warning"),
        ("columns without values", "nothing", "warning"),
        ("duplicate rows", None, "warning"),
        ("rarest class", "y", "warning"),
        ("rows without a label", "y", "warning"),
    }
    assert found(checks, "columns without values").observed == "'nothing'"
    # 300 rows three times over, one of them changed: 301 distinct of 900
    assert found(checks, "duplicate rows").observed == f"{100 * 599 / 900:.3g}% of the rows"
    demand(checks, suite_file(ws, "people"))


def test_a_class_of_one_row_is_critical(ws: Workspace, make: Make) -> None:
    data = frame()
    data.loc[5, "y"] = "maybe"
    checks = validate(ws, make(data), "people", QUICK)
    assert ("rows of each class", None, "critical") in failures(checks)
    assert found(checks, "rows of each class").observed == "'maybe' in 1 rows"


def test_the_test_file_is_held_against_the_suite(ws: Workspace, make: Make) -> None:
    train = frame()
    plain = make(train)
    test = pd.concat([train.head(60), frame(40, seed=2).assign(city="Paris")], ignore_index=True)
    test.loc[:49, "height"] = np.nan
    test.loc[0, "y"] = "never"
    checks = validate(ws, make(train, test, like=plain), "people", QUICK)
    assert failures(checks) == {
        ("known values (test file)", "city", "warning"),
        ("missing values (test file)", "height", "critical"),
        ("known classes (test file)", None, "critical"),
    }
    assert found(checks, "known classes (test file)").observed == "'never' in 1 rows"
    assert "40% other values, such as 'Paris'" in found(checks, "known values (test file)").observed
    assert found(checks, "test rows also in the training rows (test file)").observed == "10% of the rows"

    gone = validate(ws, make(train, frame(50, seed=3).drop(columns="age"), like=plain), "people", QUICK)
    assert found(gone, "column exists (test file)", "age").status == "failed"
    assert found(gone, "missing values (test file)", "age").status == "error"
    assert found(gone, "missing values (test file)", "age").observed == "nothing, as the column is missing"
    with pytest.raises(DataError, match=r"column exists .test file. of 'age': expected the column is there") as told:
        demand(gone, Path("suite.json"))
    assert "missing values" not in str(told.value)
    assert "BatchData" not in str(gone.to_json())


def test_a_new_column_is_not_added_silently(ws: Workspace, make: Make) -> None:
    validate(ws, make(frame()), "people", QUICK)
    before = suite_file(ws, "people").read_bytes()
    checks = validate(ws, make(frame().assign(weight=np.arange(400) % 50 + 0.5)), "people", QUICK)
    assert failures(checks) == {("columns that are not in the suite", "weight", "warning")}
    assert suite_file(ws, "people").read_bytes() == before


def test_a_wide_table_is_checked_with_few_expectations(ws: Workspace, make: Make) -> None:
    random = np.random.default_rng(0)
    data = pd.DataFrame(random.normal(size=(60, 300)).round(4), columns=[f"x{i}" for i in range(300)])
    data["y"] = random.choice(["yes", "no"], 60)
    train = make(data)
    checks = validate(ws, train, "wide", QUICK)
    assert failures(checks) == set()
    assert len(checks.results) < 40
    test = data.drop(columns="x0").copy()
    test.loc[:30, "x1"] = np.nan
    test.loc[3, "x2"] = 99
    checks = validate(ws, make(data, test, like=train), "wide", QUICK)
    assert {name for name, _, severity in failures(checks) if severity == "critical"} == {
        "columns that are missing (test file)",
        "columns with more missing values (test file)",
    }
    assert found(checks, "columns that are missing (test file)").observed == "'x0'"
    assert found(checks, "columns out of their range (test file)").column == "x2"


def test_regression_unicode_and_columns_named_as_facts(ws: Workspace, make: Make) -> None:
    data = frame().rename(columns={"age": "rows", "city": "duplicate rows", "member": "år " + "x" * 300})
    data["y"] = data["height"] * 2 + np.random.default_rng(5).normal(0, 30, 400)
    checks = validate(ws, make(data), "zahlen ø", QUICK)
    assert failures(checks) == set()
    assert found(checks, "known values", "duplicate rows").observed == "all"
    assert found(checks, "range", "rows").observed == "all"
    assert suite_file(ws, "zahlen ø").is_file()


def _with(ws: Workspace, reader: Reader, expectation: dict[str, object]) -> None:
    validate(ws, reader, "people", QUICK)
    path = suite_file(ws, "people")
    suite = json.loads(path.read_bytes())
    suite["expectations"].append(expectation)
    path.write_text(json.dumps(suite))


def test_a_frame_may_be_named_without_a_list(ws: Workspace, make: Make) -> None:
    reader = make(frame())
    impossible = {"column": "age", "min_value": 1000}
    _with(ws, reader, {"type": "expect_column_min_to_be_between", "kwargs": impossible, "meta": {"on": "train rows"}})
    assert failures(validate(ws, reader, "people", QUICK)) == {("column min to be between", "age", "critical")}


def test_findings_over_several_columns_are_told(ws: Workspace, make: Make) -> None:
    reader = make(frame())
    columns = {"column_list": ["city", "member"]}
    _with(ws, reader, {"type": "expect_compound_columns_to_be_unique", "kwargs": columns, "severity": "warning"})
    (failed,) = validate(ws, reader, "people", QUICK).failed("warning")
    assert "such as" in failed.observed


def test_an_expectation_whose_result_cannot_be_told_names_the_suite(ws: Workspace, make: Make) -> None:
    reader = make(frame())
    ranges = {"quantiles": [0.5], "value_ranges": [[1000, 2000]]}
    _with(
        ws,
        reader,
        {
            "type": "expect_column_quantile_values_to_be_between",
            "kwargs": {"column": "height", "quantile_ranges": ranges},
        },
    )
    with pytest.raises(UsageError, match="on train rows") as caught:
        validate(ws, reader, "people", QUICK)
    assert str(suite_file(ws, "people")) in str(caught.value)
