"""The expectations that a suite starts from, in the JSON form of Great Expectations, and what they mean in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from abi.data.reader import Reader
from abi.reading import ChecksConfig
from tasks import facts
from tasks.facts import File, numeric, sampled, shown, type_fact, used

WIDE_COLUMNS = 64  # Great Expectations takes 5 to 10 ms for each expectation on each file
MOST_VALUES = 100
LEAST_ROWS = 20
CHANGE = 10
RANGE_SLACK = 0.1
MOSTLY = 0.99
IMBALANCE = 0.1
UNLABELLED = 0.5
ABOUT = (
    "Edit this file: the next run of this model uses it as it is, or derives it anew where it is deleted. Each expectation runs on the "
    "frames in meta.on (rows: the file's sample; facts: one row of figures of the whole file; labels: rows per class). "
    "severity critical stops a run, warning is recorded."
)

Expectation = dict[str, Any]


def derive_suite(reader: Reader, config: ChecksConfig, name: str = "suite") -> dict[str, Any]:
    """The suite that the training data give, as the JSON document that is kept and edited."""
    schema = reader.problem.schema
    profiles = {column.name: column for column in reader.train.profile.columns}
    rows = reader.train.rows
    wide = len(used(schema)) > WIDE_COLUMNS
    sample = sampled(reader.train, schema)
    numbered = numeric(schema)
    limits: dict[str, dict[str, float | None]] = {}
    columns: list[Expectation] = []
    for column in used(schema):
        profile = profiles[column]
        missing = max(profile.nulls / rows, float(sample[column].isna().mean()))
        low, high = _slack(profile.minimum, profile.maximum) if column in numbered else (None, None)
        limits[column] = {"missing": _up(missing + config.null_slack), "minimum": low, "maximum": high}
        if not wide:
            columns += _column(column, limits[column], column == schema.target)
            if column in numbered:
                columns += _types(column)
            elif profile.media is None:  # no file is one of those known before
                columns += _values(column, sample, schema.target)
    return {
        "name": name,
        "meta": {"about": ABOUT, "wide": wide, "columns": limits},
        "expectations": [
            *_file(rows, config),
            *(_media(config) if facts.media_columns(reader.train, schema) else []),
            *_labels(schema.classes),
            *(_many() if wide else []),
            *columns,
        ],
    }


def _expect(
    on: str, kind: str, severity: str, name: str, *, files: tuple[str, ...] = ("train", "test"), **kwargs: object
) -> Expectation:
    meta = {"on": [f"{file} {on}" for file in files], "name": name}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": meta}


def _fact(fact: str, severity: str, files: tuple[str, ...] = ("train", "test"), **limits: float) -> Expectation:
    return _expect("facts", "column_values_to_be_between", severity, fact, files=files, column=fact, **limits)


def _file(rows: int, config: ChecksConfig) -> list[Expectation]:
    train, test = ("train",), ("test",)
    return [
        _fact(facts.ROWS, "critical", train, min_value=LEAST_ROWS),
        _fact(facts.ROWS, "critical", test, min_value=1),
        _fact(facts.ROWS, "warning", train, min_value=rows // CHANGE, max_value=rows * CHANGE),
        _fact(facts.INFINITE, "critical", max_value=0),
        _fact(facts.MIXED, "critical", max_value=0),
        _fact(facts.EMPTY, "warning", train, max_value=0),
        _fact(facts.STRANGE, "warning", train, max_value=0),
        _fact(facts.DUPLICATES, "warning", train, max_value=config.duplicate_rows),
        _fact(facts.OVERLAP, "warning", test, max_value=config.test_overlap),
        _fact(facts.LEAK, "warning", train, max_value=config.leak, strict_max=True),
    ]


def _media(config: ChecksConfig) -> list[Expectation]:
    return [
        _fact(facts.BROKEN, "warning", max_value=0),
        _fact(facts.BROKEN, "critical", max_value=config.broken_files),
        _fact(facts.SHAPES, "warning", max_value=0),
    ]


def _labels(classes: tuple[str, ...]) -> list[Expectation]:
    found = [
        _fact(facts.UNLABELLED, "warning", max_value=0),
        _fact(facts.UNLABELLED, "critical", max_value=UNLABELLED),
    ]
    if classes:
        train = ("train",)
        found += [
            _expect(
                "labels",
                "column_values_to_be_in_set",
                "critical",
                "known classes",
                column="label",
                value_set=[*classes],
            ),
            _expect(
                "labels",
                "column_values_to_be_between",
                "critical",
                "rows of each class",
                files=train,
                column="rows",
                min_value=2,
            ),
            _fact(facts.RAREST, "warning", train, min_value=IMBALANCE),
        ]
    return found


def _many() -> list[Expectation]:
    return [
        _fact(facts.ABSENT, "critical", max_value=0),
        _fact(facts.SPARSE, "critical", max_value=0),
        _fact(facts.OUTSIDE, "warning", max_value=0),
    ]


def _column(column: str, limits: Mapping[str, float | None], is_target: bool) -> list[Expectation]:
    found = [_expect("rows", "column_to_exist", "critical", "column exists", column=column)]
    missing = limits["missing"]
    assert missing is not None
    if not is_target and missing < 1:
        mostly = round(1 - missing, 4)
        found.append(
            _expect("rows", "column_values_to_not_be_null", "critical", "missing values", column=column, mostly=mostly)
        )
    if limits["minimum"] is not None:
        found.append(
            _expect(
                "rows",
                "column_values_to_be_between",
                "warning",
                "range",
                column=column,
                min_value=limits["minimum"],
                max_value=limits["maximum"],
                mostly=MOSTLY,
            )
        )
    return found


def _types(column: str) -> list[Expectation]:
    kinds = ["integer", "float", "boolean"]
    return [
        _expect("facts", "column_values_to_be_in_set", "critical", "type", column=type_fact(column), value_set=kinds)
    ]


def _values(column: str, sample: Any, target: str) -> list[Expectation]:
    values = sorted(set(sample[column].dropna()))
    if column == target or not values or len(values) > MOST_VALUES:
        return []
    return [
        _expect(
            "rows",
            "column_values_to_be_in_set",
            "warning",
            "known values",
            column=column,
            value_set=values,
            mostly=MOSTLY,
        )
    ]


def _up(share: float) -> float:
    return min(1.0, math.ceil(share * 1e4) / 1e4)


def _slack(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    if low is None or high is None:
        return None, None
    room = RANGE_SLACK * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def expected(frame: str, kind: str, kwargs: Mapping[str, Any]) -> str:
    """An expectation in words."""
    figure = _figure if frame == "facts" else _plain
    column = str(kwargs.get("column", ""))
    least, most, mostly = kwargs.get("min_value"), kwargs.get("max_value"), kwargs.get("mostly", 1)
    share = "values" if mostly == 1 else f"at least {_share(mostly)} of the values"
    match kind:
        case "expect_column_to_exist":
            return "the column is there"
        case "expect_column_values_to_not_be_null":
            return f"at most {_share(1 - mostly)} missing" if mostly < 1 else "no missing values"
        case "expect_column_values_to_be_in_set":
            return f"{share} among {shown(kwargs['value_set'])}" if kwargs.get("value_set") else "no values"
        case "expect_column_values_to_be_between":
            words = [f"at least {figure(column, least)}"] if least is not None else []
            if most is not None:
                words.append(f"{'below' if kwargs.get('strict_max') else 'at most'} {figure(column, most)}")
            if least is not None and most is not None:
                words = [f"between {figure(column, least)} and {figure(column, most)}"]
            limits = "none" if words == ["at most none"] else " and ".join(words)
            return limits if mostly == 1 else f"{share} {limits}"
    rest = ", ".join(f"{key}={value!r}" for key, value in kwargs.items() if key not in ("column", "batch_id"))
    name = kind.removeprefix("expect_").replace("_", " ")
    return f"{name} ({rest})" if rest else name


def observed(
    frame: str, kind: str, kwargs: Mapping[str, Any], result: Mapping[str, Any], passed: bool, file: File
) -> str:
    """What was found, in words."""
    column = str(kwargs.get("column", ""))
    share, examples = result.get("unexpected_percent"), result.get("partial_unexpected_list") or []
    if frame == "facts" and column in file.frames["facts"]:
        value = file.frames["facts"][column].iloc[0]
        text = file.said.get(column) or ("no value" if value is None or value != value else _figure(column, value))  # noqa: PLR0124 - NaN
    elif kind == "expect_column_to_exist":
        text = "it is there" if passed else "it is missing"
    elif kind == "expect_column_values_to_not_be_null":
        text = f"{_share((share or 0) / 100)} missing"
    elif frame == "labels" and examples and column in file.frames["labels"]:
        names = file.frames["labels"]
        chosen = names[names[column].isin(examples)].head(3)
        text = ", ".join(
            f"{name!r} in {rows:,} rows" for name, rows in zip(chosen["label"], chosen["rows"], strict=True)
        )
    elif share is not None:
        text = (
            f"{_share(share / 100)} other values, such as {shown(list({str(example): example for example in examples}.values()))}"
            if examples
            else "all"
        )
    else:
        text = str(result.get("observed_value", "all" if passed else "it does not hold"))
    return text


def _share(share: float) -> str:
    return f"{100 * share:.3g}%"


def _plain(_: str, value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, (int, float)) else str(value)


def _figure(fact: str, value: Any) -> str:
    if fact in (facts.DUPLICATES, facts.OVERLAP, facts.UNLABELLED):
        return f"{_share(value)} of the rows"
    if fact == facts.RAREST:
        return f"{_share(value)} of an even share of the rows"
    return "none" if fact.startswith("columns ") and value == 0 else _plain(fact, value)
