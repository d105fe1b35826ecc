"""What both estimators share: reading tables, settings, fitting, and what is kept of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Shaped
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from abi.config import Config, load_config
from abi.cores import cores
from abi.data.columns import encode, expect_numbers
from abi.data.derive import derive_rows
from abi.data.memory import read_memory, to_arrow
from abi.data.table import ROW
from abi.errors import DataError, UsageError, listed
from abi.estimators.chain import retrain
from abi.estimators.panel import panel
from abi.families.stored import load
from abi.metrics import expect_metric, primary_metric

if TYPE_CHECKING:
    from abi.families.family import Model
    from abi.outcomes import Trained
    from abi.problem import Schema
    from abi.types import Plan

LEAST_ROWS: Final = 4
SEEDS: Final = 2**31


class AttentionBalanced(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Base of `AttentionBalancedClassifier` and `AttentionBalancedRegressor`, which name the arguments."""

    attention_: pd.Series[float]
    scores_: pd.DataFrame
    plan_: Plan
    trained_: Trained
    rounds_: tuple[Trained, ...]
    model_: Model
    n_iter_: int
    n_features_in_: int
    _names: tuple[str, ...]
    _framed: bool = False
    _metric: Any = "auto"

    def __init__(  # scikit-learn asks that any value be taken here, and judged in `fit`
        self,
        *,
        family: Any = "auto",
        parameters: Any = "250k",
        memory: Any = "4GiB",
        train_time: Any = "3min",
        latency: Any = None,
        rounds: Any = 2,
        validation: Any = 0.15,
        metric: Any = "auto",
        random_state: Any = 0,
        n_jobs: Any = None,
        settings: Any = None,
        verbose: Any = False,
    ) -> None:
        self.family = family
        self.parameters = parameters
        self.memory = memory
        self.train_time = train_time
        self.latency = latency
        self.rounds = rounds
        self.validation = validation
        self.metric = metric
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.settings = settings
        self.verbose = verbose

    @property
    def feature_importances_(self) -> Float[np.ndarray, " columns"]:
        """Attention per input column, the sum of its features'; 0 for a column that was set aside. They sum to 1."""
        check_is_fitted(self)
        columns = [feature.column for feature in self._schema.features]
        by_column = self.attention_.groupby(np.array(columns, dtype=object), sort=False).sum()
        return np.asarray(by_column.reindex(self._names, fill_value=0.0).to_numpy(np.float64))

    @property
    def _schema(self) -> Schema:
        return self.plan_.attention.scores.problem.schema

    def _fit(self, rows: pa.Table, target: pa.Array, task: str, name: str) -> None:
        """Learn `target`, numbers or lists of labels, from `rows`, which `_read` gave.

        Raises:
            ValueError: the table, target or a parameter cannot be used; also DataError, UsageError and PlanInfeasible.
        """
        config = self._config(task)
        check_consistent_length(rows, target)
        if len(rows) < LEAST_ROWS:
            msg = f"Expected at least {LEAST_ROWS} rows, got n_samples = {len(rows)}: give more rows."
            raise DataError(msg)
        while name in self._names or name == ROW:
            name += "_"
        _expect_served(config)
        reader = read_memory(rows.append_column(name, target), name, config, least_rows=LEAST_ROWS)
        expect_metric(reader.problem.schema.task, config.evaluation.metric)
        self._metric = self.metric
        outcome = retrain(reader, config, self._say)
        kept = outcome.kept
        self.model_, self.trained_, self.plan_, self.rounds_ = outcome.model, kept, kept.plan, outcome.rounds
        features = [feature.feature for feature in outcome.scores.features]
        weights = np.array(kept.attention)  # of float32, whose sum is not quite 1
        self.attention_ = pd.Series(weights / weights.sum(), index=pd.Index(features, name="feature"), name="attention")
        self.scores_ = pd.DataFrame([f.to_json() for f in outcome.scores.features]).set_index("feature")
        self.n_iter_ = len(kept.history)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _forget(self) -> None:
        """Drop what an earlier fit left, so that one that fails leaves nothing of it."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _expect_target(self, y: object) -> None:
        if y is None:
            msg = f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            raise DataError(msg)
        if issparse(y):
            return
        try:
            given = np.asarray(y)
        except ValueError:  # rows of several lengths, of which scikit-learn says so
            return
        if given.dtype != object or not given.ndim or not given.size:
            return
        gaps = int(pd.isna(given).reshape(len(given), -1).any(axis=1).sum())
        if gaps:
            msg = f"Expected a target in every row of y, got none in {gaps:,} of {len(given):,}: leave those rows out or fill it in."
            raise DataError(msg)
        kinds = sorted({type(value).__name__ for value in given.ravel()})
        if len(kinds) > 1 and not _sorts(given):
            msg = f"Expected values of one kind in y, got {listed(kinds)}: write them all as text or all as numbers."
            raise DataError(msg)

    def _predicted(self, X: object) -> Float[np.ndarray, "rows ..."]:  # noqa: N803 - scikit-learn's name
        check_is_fitted(self)
        arrow = self._read(X, reset=False)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.plan_.execution.threads)
            expect_numbers(arrow, self._schema)
            rows = derive_rows(self._schema, arrow)
            return self.model_.predict_columns(encode(rows, self._schema, with_target=False))
        finally:
            torch.set_num_threads(threads)

    def _read(self, X: object, *, reset: bool) -> pa.Table:  # noqa: N803 - scikit-learn's name
        """Any table as Arrow, with the columns' names as they were when fitted; the same order is asked for."""
        if isinstance(X, pd.Series) or (not isinstance(X, pd.DataFrame) and hasattr(X, "collect")):
            remedy = "give a frame, as .to_frame() does" if isinstance(X, pd.Series) else "collect it first"
            msg = f"Expected 2D array or a table, got a {type(X).__name__}: {remedy}."
            raise DataError(msg)
        framed = isinstance(X, pd.DataFrame) or hasattr(X, "__arrow_c_stream__")
        if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
            twice = listed(sorted({str(name) for name in X.columns[X.columns.duplicated()]}))
            msg = f"Expected a name of its own for every column, got {twice} more than once: rename them."
            raise DataError(msg)
        if isinstance(X, pa.RecordBatch):
            X = pa.Table.from_batches([X])  # noqa: N806 - scikit-learn's name
        if framed:
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not reset:
                self._expect_order(X)
        else:
            dimensions = len(getattr(X, "shape", ()))
            if dimensions > 2:  # noqa: PLR2004 - rows and columns
                msg = f"Expected a table, got an array of {dimensions} dimensions: give pictures as files (PNG bytes) in a column of a frame."
                raise DataError(msg)
            X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")  # noqa: N806
        table = to_arrow(X, None if reset else self._names)
        if framed and not table.num_columns:
            msg = f"Found array with 0 feature(s) (shape={table.shape}) while a minimum of 1 is required."
            raise DataError(msg)
        if not reset and not table.num_rows:
            msg = f"Found array with 0 sample(s) (shape={table.shape}) while a minimum of 1 is required by {type(self).__name__}."
            raise DataError(msg)
        infinite = [field.name for field in table.schema if _has_infinite(table.column(field.name))]
        if infinite:
            msg = f"Expected finite or missing values, got infinity in {listed(infinite)}: mend those rows or make them missing."
            raise DataError(msg)
        if reset:
            self._names, self._framed = tuple(table.column_names), framed
        return table

    def _expect_order(self, X: object) -> None:  # noqa: N803 - scikit-learn's name
        """Columns that are numbered have no names to scikit-learn, which compares those of text alone."""
        if not isinstance(X, pd.DataFrame) or not self._framed or hasattr(self, "feature_names_in_"):
            return
        names = [str(name) for name in X.columns]
        if names != list(self._names):
            msg = f"Expected the columns {listed(self._names)} in that order, as they were fitted, got {listed(names)}: select them in that order."
            raise DataError(msg)

    def _config(self, task: str) -> Config:
        """The parameters as settings of the core; nothing but them and the defaults is read.

        Raises:
            UsageError: a parameter or a setting is unknown or out of bounds.
        """
        mine: dict[str, object] = {
            "data.task": task,
            "data.validation": self.validation,
            "envelope.parameters": self.parameters,
            "envelope.memory": self.memory,
            "envelope.train_time": self.train_time,
            "envelope.latency": self.latency,
            "evaluation.metric": self.metric,
            "iterate.rounds": self.rounds,
            "seed": self._seed(),
            "training.family": self.family,
            "training.threads": self._threads(),
        }
        if not isinstance(self.settings, (Mapping, type(None))):
            msg = f"Expected settings as a dict of dotted names, got {type(self.settings).__name__}."
            raise UsageError(msg)
        given = dict(self.settings or {})
        odd = [name for name in given if not isinstance(name, str)]
        if odd:
            msg = f"Expected settings as a dict of dotted names, got the name {odd[0]!r}."
            raise UsageError(msg)
        named = {f"{key}.{part}" for key, value in given.items() if isinstance(value, Mapping) for part in value}
        twice = sorted(set(mine) & (named | set(given)))
        if twice:
            msg = f"Expected settings that no parameter stands for, got {listed(twice)}: use the parameters of this estimator."
            raise UsageError(msg)
        return load_config(settings=mine | given, ambient=False)

    def _seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state) % SEEDS
        return int(check_random_state(self.random_state).randint(SEEDS - 1))

    def _threads(self) -> int | None:
        """Threads of one training, as joblib counts them; None is up to the size of the table."""
        if self.n_jobs is None:
            return None
        if not isinstance(self.n_jobs, (int, np.integer)) or self.n_jobs == 0:
            msg = f"Expected n_jobs of at least 1, or -1 for all cores, got {self.n_jobs!r}."
            raise UsageError(msg)
        return int(self.n_jobs) if self.n_jobs > 0 else max(1, cores() + 1 + int(self.n_jobs))

    def _say(self, line: str) -> None:
        if self.verbose:
            sys.stdout.write(f"[{type(self).__name__}] {line}\n")

    def _html_repr(self) -> str:
        """What a notebook shows: scikit-learn's own diagram until it is fitted, then what attention found."""
        if not hasattr(self, "plan_"):
            return str(super()._html_repr())
        metric = primary_metric(self._schema.task, self._metric)
        return panel(repr(self), self.trained_, self.rounds_, self.attention_, metric)

    def __getstate__(self) -> dict[str, Any]:
        """The model goes as its files (safetensors), so that no class of its inside is pickled."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = state["model_"].files()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.get("model_")
        if files is not None:
            with tempfile.TemporaryDirectory(prefix="abi-model-") as folder:
                for name, data in files.items():
                    path = Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)  # a blend has a folder per family
                    path.write_bytes(data)
                state = state | {"model_": load(folder)}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _expect_served(config: Config) -> None:
    """See that nothing is asked for that an estimator cannot do when it predicts.

    Raises:
        UsageError: encoders in folders, users and items with a history, earlier targets, or a class out of scope.
    """
    if config.data.out_of_scope is not None:
        msg = "Expected no data.out_of_scope in an estimator's settings, whose predict takes the most probable class, got one: use `abi run`, or leave it a class like others."
        raise UsageError(msg)
    if config.data.encoders:
        msg = "Expected no data.encoders in an estimator's settings, which reads no folders, got some: use `abi run`, or give the vectors as columns."
        raise UsageError(msg)
    if config.data.roles is not None:
        msg = "Expected no data.roles in an estimator's settings, which keeps no history of users and items, got some: use `abi run`."
        raise UsageError(msg)
    if config.data.series is not None and config.data.series.target_lags:
        msg = "Expected no data.series.target_lags in an estimator's settings, whose predict is given no targets, got some: use `abi run`, or give earlier targets as columns."
        raise UsageError(msg)


def _sorts(values: Shaped[np.ndarray, "*shape"]) -> bool:
    try:
        np.unique(values)
    except TypeError:
        return False
    return True


def _has_infinite(column: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_inf(column)).as_py())


def column_name(y: object) -> str:
    """The name that a pandas or polars series brings, else "target"."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else "target"
