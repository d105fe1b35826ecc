"""The estimators with real tables: every library, categories, missing values, reproducibility, pipelines, mistakes."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import abi
from abi.errors import DataError, PlanInfeasible, UsageError

ROWS = 240
QUICK: dict[str, Any] = {"training.members": 2, "training.block_width": 16, "training.epochs": 8}


def _classifier(**parameters: Any) -> abi.AttentionBalancedClassifier:
    settings = QUICK | parameters.pop("settings", {})
    return abi.AttentionBalancedClassifier(
        **{"family": "network", "rounds": 1, "n_jobs": 1, "settings": settings} | parameters
    )


def _regressor(**parameters: Any) -> abi.AttentionBalancedRegressor:
    return abi.AttentionBalancedRegressor(
        **{"family": "network", "rounds": 1, "n_jobs": 1, "settings": QUICK} | parameters
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "size": random.normal(size=ROWS),
            "noise": random.normal(size=ROWS),
            "colour": random.choice(["red", "green", "blue"], ROWS),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 9999, ROWS), unit="h"),
            "flag": random.integers(0, 2, ROWS).astype(bool),
            "always": 1,
        }
    )
    made.loc[3, "size"] = np.nan
    made.loc[4, "colour"] = None
    return made


@pytest.fixture(scope="module")
def answer(frame: pd.DataFrame) -> pd.Series[Any]:
    return pd.Series(np.where(frame["size"].fillna(0) > 0, "yes", "no"), name="bought")


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame, answer: pd.Series[Any]) -> abi.AttentionBalancedClassifier:
    return _classifier(latency="1s").fit(frame, answer)


def _arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("form", [pl.from_pandas, _arrow, lambda f: _arrow(f).combine_chunks().to_batches()[0]])
def test_the_library_makes_no_difference(form: Any, fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    plain = fitted.predict_proba(frame)
    np.testing.assert_array_equal(fitted.predict_proba(form(frame)), plain)
    other = clone(fitted).fit(form(frame), pl.from_pandas(answer))
    np.testing.assert_array_equal(other.predict_proba(frame), plain)
    assert list(other.feature_names_in_) == list(frame.columns)


def test_what_is_kept_of_a_fit(fitted: Any, frame: pd.DataFrame) -> None:
    assert fitted.n_features_in_ == 6
    assert list(fitted.classes_) == ["no", "yes"]
    features = ["size", "noise", "colour", "day:time", "day:month", "day:weekday", "day:hour", "flag"]
    assert list(fitted.attention_.index) == list(fitted.scores_.index) == features
    assert fitted.attention_.sum() == pytest.approx(1, abs=1e-12)
    assert fitted.scores_["score"].idxmax() == "size"
    importances = dict(zip(frame.columns, fitted.feature_importances_, strict=True))
    assert importances["always"] == 0
    assert importances["day"] == pytest.approx(sum(fitted.attention_[features[3:7]]))
    assert sum(importances.values()) == pytest.approx(1)
    assert fitted.plan_.attention.scores.problem.schema.target == "bought"
    assert fitted.n_iter_ == len(fitted.trained_.history)


def test_new_categories_missing_values_and_empty_columns_can_be_predicted(fitted: Any, frame: pd.DataFrame) -> None:
    odd = frame[:4].assign(colour=["mauve", None, "red", "red"], size=np.nan, day=pd.NaT, always=7)
    chance = fitted.predict_proba(odd)
    assert np.isfinite(chance).all()
    np.testing.assert_allclose(chance.sum(axis=1), 1)


@pytest.mark.parametrize("labels", [["b", "a"], [7, 3], [True, False], [2.0, -1.0], ["NA", ""]])
def test_labels_come_back_as_they_were(labels: list[Any], frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    y = np.where(answer == "yes", np.array(labels)[0], np.array(labels)[1])
    model = _classifier().fit(frame[["size", "noise"]], y)
    assert model.classes_.dtype == y.dtype
    assert list(model.classes_) == sorted(labels)
    right = model.predict(frame[["size", "noise"]]) == y
    assert right.mean() > 0.9
    assert model.predict_proba(frame[["size", "noise"]]).shape == (ROWS, 2)


def test_the_target_may_have_the_name_of_a_column(frame: pd.DataFrame) -> None:
    model = _regressor().fit(frame[["size", "flag"]], frame["size"].fillna(0))
    assert model.plan_.attention.scores.problem.schema.target == "size_"


def test_equal_random_states_give_equal_models(fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    plain = fitted.predict_proba(frame)
    torch.manual_seed(1)
    before = torch.get_rng_state(), torch.get_num_threads()
    again, other = (clone(fitted).set_params(random_state=seed).fit(frame, answer) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    np.testing.assert_array_equal(again.predict_proba(frame), plain)
    assert (other.predict_proba(frame) != plain).any()


def test_neither_the_environment_nor_a_settings_file_is_read(
    fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABI_TRAINING__DROPOUT", "0.7")
    Path("abi.yaml").write_text("training: {weight_decay: 0.3}\n")
    assert clone(fitted).fit(frame, answer).plan_.execution == fitted.plan_.execution


def test_encoders_in_folders_are_refused(fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    asked = clone(fitted).set_params(settings={"data.encoders": {"note": "folder"}})
    with pytest.raises(UsageError, match=r"Expected no data\.encoders in an estimator's settings"):
        asked.fit(frame, answer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data.roles.user": "colour", "data.roles.item": "flag", "data.roles.time": "day"}, r"no data\.roles"),
        ({"data.order": "rows", "data.series.target_lags": [1]}, r"no data\.series\.target_lags"),
        ({"data.out_of_scope": "no"}, r"no data\.out_of_scope"),
    ],
)
def test_what_predict_could_not_know_is_refused(
    settings: dict[str, Any], said: str, fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]
) -> None:
    with pytest.raises(UsageError, match=f"Expected {said} in an estimator's settings.*: use `abi run`"):
        clone(fitted).set_params(settings=settings).fit(frame, answer)


def test_tables_that_are_none_are_told_in_a_sentence(fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    twice = pd.concat([frame, frame[["noise"]]], axis=1)
    with pytest.raises(DataError, match="a name of its own for every column, got 'noise' more than once: rename them"):
        clone(fitted).fit(twice, answer)
    odd = frame.assign(noise=frame["noise"].astype(complex))
    with pytest.raises(DataError, match="text or times in the column 'noise', got complex128: turn it into"):
        clone(fitted).fit(odd, answer)
    with pytest.raises(DataError, match="Found array with 0 sample"):
        fitted.predict(frame.head(0))
    with pytest.raises(DataError, match="Expected numbers in column 'noise', got 'abc' and the like in all"):
        fitted.predict(frame.assign(noise="abc"))
    with pytest.raises(DataError, match="or a table, got a Series: give a frame, as"):
        clone(fitted).fit(frame["noise"], answer)
    with pytest.raises(DataError, match="or a table, got a LazyFrame: collect it first"):
        clone(fitted).fit(pl.from_pandas(frame).lazy(), answer)
    with pytest.raises(DataError, match="got no rows"):  # a column may be called so
        clone(fitted).fit(frame.assign(collect=1.0), answer.head(0))
    with pytest.raises(DataError, match="no column named '__row', which rows are numbered by"):
        clone(fitted).fit(frame.rename(columns={"noise": "__row"}), answer)
    with pytest.raises(DataError, match="Expected a label per row in y, got no rows"):
        clone(fitted).fit(frame, answer.head(0))


@pytest.mark.parametrize("kind", [pd.SparseDtype("float64", 0.0), ">f8", np.longdouble])
def test_numbers_are_numbers_however_they_are_stored(kind: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    plain = _classifier(family="trees").fit(frame[["noise"]].assign(other=frame["noise"] ** 2), answer)
    rows = frame[["noise"]].assign(other=frame["noise"] ** 2)
    stored = (
        rows.astype(kind)
        if not isinstance(kind, str)
        else pd.DataFrame({n: rows[n].to_numpy().astype(kind) for n in rows})
    )
    model = _classifier(family="trees").fit(stored, answer)
    np.testing.assert_array_equal(model.predict_proba(stored), plain.predict_proba(rows))


@pytest.mark.parametrize("family", ["network", "trees"])
def test_truth_values_are_the_same_however_they_are_written(family: str, frame: pd.DataFrame) -> None:
    true = np.random.default_rng(1).random(ROWS) > 0.5
    rows, y = frame[["noise"]].assign(b=true), np.where(true, "yes", "no")
    model = _classifier(family=family).fit(rows, y)
    plain = model.predict_proba(rows)
    assert (model.predict(rows) == y).mean() > 0.75
    for other in (true.astype(int), true.astype(float), true.astype(int).astype(str), np.where(true, "TRUE", "false")):
        np.testing.assert_array_equal(model.predict_proba(rows.assign(b=other)), plain)
    numbers = _classifier(family=family, settings={"data.columns": {"b": "boolean"}}).fit(rows.assign(b=true * 1), y)
    np.testing.assert_array_equal(numbers.predict_proba(rows), numbers.predict_proba(rows.assign(b=true * 1)))


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["blue", "green", "red"])])
def test_categories_of_polars_are_text(kind: Any, fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    table = pl.from_pandas(frame).with_columns(pl.col("colour").cast(kind))
    np.testing.assert_array_equal(fitted.predict_proba(table), fitted.predict_proba(frame))
    np.testing.assert_array_equal(clone(fitted).fit(table, answer).predict_proba(frame), fitted.predict_proba(frame))


def test_a_pickle_holds_files_and_predicts_the_same(fitted: Any, frame: pd.DataFrame) -> None:
    data = pickle.dumps(fitted)
    assert b"model.json" in data
    assert b"abi.families.network" not in data  # files, not objects
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.predict_proba(frame), fitted.predict_proba(frame))
    assert again.plan_.id == fitted.plan_.id
    assert again.get_params() == fitted.get_params()


def test_pipelines_searches_and_cross_validation(frame: pd.DataFrame) -> None:
    table = frame[["size", "noise"]].fillna(0)
    y = 3 * table["size"] + 1
    pipeline = make_pipeline(StandardScaler(), _regressor())
    search = GridSearchCV(pipeline, {"attentionbalancedregressor__parameters": ["1k", "3k"]}, cv=2).fit(table, y)
    assert search.best_params_["attentionbalancedregressor__parameters"] in ("1k", "3k")
    assert search.best_estimator_[-1].trained_.measured.parameters <= 3000
    scores = cross_val_score(_regressor(settings=QUICK | {"training.epochs": 30}), table, y, cv=2)
    assert scores.min() > 0.5


def test_too_few_validation_rows_decide_nothing(frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    model = _classifier(rounds=3).fit(frame, answer)  # 240 rows, about 36 of them for validation
    assert model.plan_.attention.temperature is None
    assert model.plan_.attention.trials == ()
    assert len(model.rounds_) == 1


def test_more_rows_than_decide_are_moved_by_rounds() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(600, 4))
    model = _regressor(rounds=2, settings=QUICK | {"iterate.tolerance": 0, "iterate.plan_change": 0})
    model.fit(table, table @ [1.0, 0.5, 0.25, 0.1])
    assert len(model.rounds_) == 2
    assert model.trained_.loss == min(one.loss for one in model.rounds_)
    assert model.rounds_[1].plan.attention.moved > 0
    assert model.attention_.idxmax() == "x0"


@pytest.mark.parametrize(
    ("parameters", "error", "says"),
    [
        ({"parameters": 3}, PlanInfeasible, "The smallest that would do: parameters="),
        ({"parameters": "many"}, UsageError, "200k"),
        ({"train_time": "3 fortnights"}, UsageError, "10min"),
        ({"rounds": 0}, UsageError, "rounds"),
        ({"validation": 1.5}, UsageError, "data.validation"),
        ({"metric": "f2"}, UsageError, "metric"),
        ({"n_jobs": 0}, UsageError, "n_jobs"),
        ({"random_state": "a"}, ValueError, "seed"),
        ({"settings": {"training.epoch": 3}}, UsageError, "training.epoch"),
        ({"settings": {"envelope.parameters": 3}}, UsageError, "parameters of this estimator"),
    ],
)
def test_a_parameter_s_mistake_is_a_value_error(
    parameters: Any, error: type[Exception], says: str, frame: pd.DataFrame, answer: pd.Series[Any]
) -> None:
    with pytest.raises(error, match=says) as caught:
        _classifier(**parameters).fit(frame, answer)
    assert isinstance(caught.value, ValueError)


def test_data_s_mistakes_are_value_errors(fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    with pytest.raises(DataError, match="infinity in 'size'"):
        _classifier().fit(frame.assign(size=np.inf), answer)
    with pytest.raises(DataError, match="infinity in 'size'"):
        fitted.predict(frame.assign(size=np.inf))
    with pytest.raises(DataError, match="one class"):
        _classifier().fit(frame, ["yes"] * ROWS)
    with pytest.raises(DataError, match="'always' holds one value only"):
        _classifier().fit(frame[["always"]], answer)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        _classifier().fit(frame, answer[:-1])
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"size": "sizes"}))
    with pytest.raises(ValueError, match="y should be a 1d array"):
        _classifier().fit(frame, np.column_stack([answer, answer]))
    with pytest.raises(ValueError, match="contains NaN"):
        _regressor().fit(frame, frame["size"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["a", None, "b"], "got none in 2 of 6: leave those rows out"),
        ([1, None, 0], "got none in 2 of 6"),
        (pd.Series(["a", pd.NA, "b"] * 2, dtype="string"), "got none in 2 of 6"),
        (pd.DataFrame({"up": [1, pd.NA, 0] * 2, "wet": [pd.NA, pd.NA, 1] * 2}), "got none in 4 of 6"),
        (pd.Series(["a", 1, "b"] * 2), "values of one kind in y, got 'int', 'str'"),
        (pd.DataFrame({"up": [1, "x", 0] * 2, "wet": [0, 1, 1] * 2}), "got 'int', 'str': write them all as"),
    ],
)
def test_targets_with_gaps_or_of_several_kinds_are_refused(values: Any, says: str, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=says):
        _classifier().fit(frame[:6], values * 2 if isinstance(values, list) else values)


def test_a_gap_among_values_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="Expected a target in every row of y, got none in 1 of 6"):
        _regressor().fit(frame[:6], [1.0, None, 0.5, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("family", ["trees", "auto", "blend"])
def test_every_family_fits_predicts_and_pickles(family: str, frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    model = _classifier(family=family).fit(frame, answer)
    assert model.score(frame, answer) > 0.9
    assert model.attention_.sum() == pytest.approx(1)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert family in ("auto", model.trained_.family)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_kept_model_can_learn_from_all_rows_in_the_end(
    fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]
) -> None:
    again = _classifier(settings={"training.refit": True}).fit(frame, answer)
    assert again.trained_.refit.rows == ROWS
    assert again.trained_.judged == again.rounds_[0]
    assert again.trained_.judged.artifact == fitted.trained_.artifact
    assert again.model_.artifact == again.trained_.artifact != fitted.trained_.artifact
    assert f"trained once more: {ROWS} rows" in again._repr_html_()


def test_the_panel_names_the_metric_that_it_was_fitted_with(frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    model = _classifier(metric="accuracy").fit(frame, answer)
    model.set_params(metric="log_loss")
    for one in (model, pickle.loads(pickle.dumps(model))):
        html = one._repr_html_()
        assert "accuracy" in html
        assert "log loss" not in html


def test_numbered_columns_are_asked_for_in_the_order_of_the_fit(frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    table = frame[["size", "noise", "flag"]].set_axis([0, 1, 2], axis=1)
    model = _classifier().fit(table, answer)
    plain = model.predict_proba(table)
    with pytest.raises(
        DataError, match="Expected the columns '0', '1', '2' in that order, as they were fitted, got '1', "
    ):
        model.predict(table[[1, 0, 2]])
    with pytest.raises(DataError, match="got '0', '1', '3'"):
        model.predict(table.set_axis([0, 1, 3], axis=1))
    np.testing.assert_array_equal(model.predict_proba(table[[1, 0, 2]][[0, 1, 2]]), plain)
    array = _regressor().fit(table[[0, 1]].fillna(0).to_numpy(), answer == "yes")
    assert len(array.predict(table[[0, 1]])) == ROWS  # which has no names to hold columns against


def test_the_panel_shows_attention_and_escapes_names(frame: pd.DataFrame, answer: pd.Series[Any]) -> None:
    evil = "<script>alert(1)</script>"
    model = _classifier(latency="1s").fit(frame.rename(columns={"noise": evil}), answer)
    html = model._repr_html_()
    reader = _Reader()
    reader.feed(html)
    assert set(reader.tags) == {"style", "div", "span"}
    text = "".join(reader.text)
    assert evil in text
    assert "of 1 s" in text
    assert "Set aside: always (constant)." in text
    assert text.count("%") >= len(model.attention_)
    assert not re.search(r"https?:|url\(|@import", html)
    assert len(html) < 20_000


def test_an_unfitted_estimator_shows_scikit_learn_s_diagram() -> None:
    assert "sk-top-container" in _classifier()._repr_html_()


def test_the_readme_s_example_works(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## As a library.*?```python\n(.*?)```", text, re.DOTALL)
    assert block
    exec(compile(block[1], "README.md", "exec"), {})
    shown = capsys.readouterr().out
    accuracy, parameters = re.search(r"accuracy (0\.\d+) with ([\d,]+) parameters", shown).groups()  # type: ignore[union-attr]
    assert float(accuracy) > 0.9
    assert int(parameters.replace(",", "")) <= 50_000
    assert "The even split would give" in shown


def test_the_package_names_its_estimators_and_nothing_else() -> None:
    assert {"AttentionBalancedClassifier", "AttentionBalancedRegressor"} <= set(dir(abi))
    with pytest.raises(AttributeError, match="Classifiers"):
        abi.Classifiers  # type: ignore[attr-defined]  # noqa: B018


def test_help_names_every_parameter_and_every_learned_attribute(fitted: Any) -> None:
    texts = {kind: inspect.getdoc(kind) for kind in (type(fitted), abi.AttentionBalancedRegressor)}
    for kind, text in texts.items():
        assert text.startswith(f"{kind.__name__.removeprefix('AttentionBalanced')} whose capacity follows attention")
        assert set(re.findall(r"\n    ([a-z_]+[a-z]): ", text)) == set(kind().get_params())
        assert not re.search(r"{(?!\"attention)|{{", text)
    learned = {name for name in vars(fitted) if name.endswith("_")} | {"feature_importances_"}
    named = {kind: set(re.findall(r"\n    (\w+_): ", text)) for kind, text in texts.items()}
    assert named[type(fitted)] == learned
    assert named[abi.AttentionBalancedRegressor] == learned - {"classes_", "multilabel_"}


@pytest.mark.parametrize(
    "settings", [{"envelope": {"parameters": "1k"}}, {"training": {"family": "trees"}}, {"data": {"task": "binary"}}]
)
def test_a_section_of_settings_does_not_go_before_the_parameters(
    settings: dict[str, Any], fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]
) -> None:
    (section, (part,)) = next((name, tuple(parts)) for name, parts in settings.items())
    with pytest.raises(UsageError, match=rf"no parameter stands for, got .*{section}\.{part}"):
        clone(fitted).set_params(settings=settings).fit(frame, answer)
    with pytest.raises(UsageError, match="dict of dotted names, got the name 1"):
        clone(fitted).set_params(settings={1: 2}).fit(frame, answer)


def test_a_fit_that_fails_leaves_nothing_of_the_one_before(
    fitted: Any, frame: pd.DataFrame, answer: pd.Series[Any]
) -> None:
    again = copy.deepcopy(fitted)
    again.predict(frame)
    with pytest.raises(ValueError, match="Expected an envelope"):
        again.set_params(parameters=1).fit(frame, answer)
    with pytest.raises(NotFittedError):
        again.predict(frame)
