"""The only door to Great Expectations: a suite that a person can edit, run on the data, with Data Docs as evidence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from abi.data.scratch import scratch_folder
from abi.errors import DataError, UsageError, clip, listed
from abi.problem import Check, Checks
from tasks.data_docs import tidy
from tasks.expectations import derive_suite, expected, observed
from tasks.facts import File, gather
from tasks.workspace import Workspace, disk_errors

if TYPE_CHECKING:
    import pandas as pd

    from abi.data.reader import Reader
    from abi.problem import Problem
    from abi.reading import ChecksConfig

ENVIRONMENT = {"GX_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
ORDER = "abi"  # meta key that says which expectation of the file a result belongs to
SHOWN = 3
EXISTS = "column exists"
FRAMES = tuple(f"{role} {kind}" for role in ("train", "test") for kind in ("rows", "facts", "labels"))
"""What an expectation may name in meta.on."""


def suite_file(ws: Workspace, name: str) -> Path:
    """Where the suite of a model is kept."""
    return ws.suites / f"{name}.json"


def docs_folder(ws: Workspace, name: str, problem: Problem, suite_sha256: str, decided: Collection[str] = ()) -> Path:
    """Where the Data Docs of that validation are, where they were built; which encoders were tuned after it does not matter."""
    features = [[feature.name, feature.kind] for feature in problem.schema.features]
    posed = [problem.snapshot.id, problem.split.id, problem.schema.target, problem.schema.task, features]
    checked = json.dumps([*posed, suite_sha256, sorted(decided)])
    return ws.gx / name / hashlib.sha256(checked.encode()).hexdigest()[:32]


def validate(ws: Workspace, reader: Reader, name: str, config: ChecksConfig, decided: Collection[str] = ()) -> Checks:
    """Run the suite of `name`, derived from the training data where there is none yet, on the training and test file.

    Args:
        ws: where suite and Data Docs are kept.
        reader: the tables, and what is to be learned from them.
        name: the model, which names the suite.
        config: limits that a new suite starts from.
        decided: columns whose kind the user has set (`data.columns`).

    Raises:
        UsageError: the suite file was edited into something that cannot be used.
        WorkspaceError: the workspace cannot be written.
    """
    path = suite_file(ws, name)
    if not path.exists():
        ws.write(path, (json.dumps(derive_suite(reader, config, name), ensure_ascii=False, indent=2) + "\n").encode())
    data = path.read_bytes()
    suite = _read(data, path)
    meta = suite.get("meta", {})
    files = gather(reader, meta.get("columns", {}), bool(meta.get("wide")), decided)
    suite_sha256 = hashlib.sha256(data).hexdigest()
    site = docs_folder(ws, name, reader.problem, suite_sha256, decided) if config.data_docs else None
    with _quiet(), disk_errors(ws.gx), scratch_folder(ws.gx) as scratch:
        results = _run(path, _built(suite, path), files, None if site is None else scratch)
        if site is not None:
            _put_in_place(scratch, site)
            tidy(site, scratch / "earlier")
    return Checks(
        problem=reader.problem,
        suite_sha256=suite_sha256,
        results=tuple(check for _, check in sorted(results, key=lambda found: found[0])),
    )


def demand(checks: Checks, suite: Path) -> None:
    """Let only data pass that has no critical failure.

    Raises:
        DataError: naming the first failures and `suite`, the file to edit where the data are as they should be.
    """
    failed = checks.failed("critical")
    if not failed:
        return
    missing = {check.column for check in failed if check.name.startswith(EXISTS)}
    failed = tuple(check for check in failed if check.name.startswith(EXISTS) or check.column not in missing)
    texts = [
        f"{check.name}{f' of {clip(check.column)!r}' if check.column else ''}: expected {check.expected}, got {check.observed}"
        for check in failed[:SHOWN]
    ]
    more = f" (and {len(failed) - SHOWN} more)" if len(failed) > SHOWN else ""
    mixed = any(check.name.startswith("columns of mixed types") for check in failed)
    remedy = "mend the data, set the column's kind in data.columns" if mixed else "mend the data"
    msg = f"Data checks failed: {'; '.join(texts)}{more}. To go on, {remedy}, or edit {suite} if the data are right."
    raise DataError(msg)


def _read(data: bytes, path: Path) -> dict[str, Any]:
    try:
        suite = json.loads(data)
    except ValueError as error:
        msg = f"Expected JSON in the expectation suite {path}, got: {error}. Mend it, or delete it to have it derived anew."
        raise UsageError(msg) from None
    meta = suite.get("meta", {}) if isinstance(suite, dict) else None
    columns = meta.get("columns", {}) if isinstance(meta, dict) else None
    if not (
        isinstance(suite, dict)
        and isinstance(suite.get("expectations"), list)
        and isinstance(columns, dict)
        and all(isinstance(limits, dict) for limits in columns.values())
    ):
        msg = f"Expected an expectation suite in {path} (an object with a list of expectations), got something else: delete it to have it derived anew."
        raise UsageError(msg)
    return suite


def _built(suite: Mapping[str, Any], path: Path) -> dict[str, list[Any]]:
    """The expectations of each frame, as Great Expectations' own objects."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    frames: dict[str, list[Any]] = defaultdict(list)
    for number, plain in enumerate(suite["expectations"]):
        try:
            meta = plain.get("meta") or {}
            on = meta.get("on", ["train rows", "test rows"])
            on = [on] if isinstance(on, str) else list(on)
            if strange := [str(frame) for frame in on if frame not in FRAMES]:
                msg = f"meta.on names {listed(strange)}, which is none of {listed(FRAMES)}"
                raise ValueError(msg)
            for frame in on:
                one = ExpectationConfiguration(
                    type=plain["type"],
                    kwargs=dict(plain.get("kwargs", {})),
                    meta={**meta, ORDER: number},
                    severity=plain.get("severity", "critical"),
                )
                frames[frame].append(one.to_domain_obj())
        except Exception as error:
            kind = plain.get("type") if isinstance(plain, dict) else plain
            said = " ".join(str(error).split())
            msg = f"Expected an expectation that Great Expectations knows in {path}, got number {number + 1}, {kind!r}: {clip(said, 200)}. Mend it, or delete the file to have it derived anew."
            raise UsageError(msg) from None
    return frames


def _run(
    path: Path, frames: Mapping[str, list[Any]], files: Mapping[str, File], place: Path | None
) -> list[tuple[tuple[int, str], Check]]:
    """What came of each expectation of the suite in `path`; Data Docs are built in `place`, where there is one."""
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.CRITICAL)  # its import sets INFO
    context: Any = (
        gx.get_context(mode="ephemeral") if place is None else gx.get_context(mode="file", project_root_dir=str(place))
    )
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("data")
    checks: list[tuple[tuple[int, str], Check]] = []
    for role, file in files.items():
        for kind, data in file.frames.items():
            frame = f"{role} {kind}"
            if frames.get(frame):
                try:
                    results = _validated(gx, context, source, frame, frames[frame], data)
                except Exception as error:
                    said = " ".join(str(error).split())
                    msg = f"Expected expectations on {frame} in {path} whose results Great Expectations can give, got {type(error).__name__}: {clip(said, 200)}. Take out the one that was added last, or delete the file to have it derived anew."
                    raise UsageError(msg) from error
                for result in results:
                    checks.append(_check(result, role, kind, file))  # noqa: PERF401 - the outer loops stay readable
    if place is not None:
        _as_text(place)
        context.build_data_docs()
    return checks


def _put_in_place(built: Path, site: Path) -> None:
    """Move the pages from where they were built; those of the same validation may be there, or come at the same moment."""
    site.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        site.rename(built / "before")
    try:
        (built / "gx" / "uncommitted" / "data_docs" / "local_site").rename(site)
    except OSError:
        if not site.is_dir():
            raise


def _as_text(place: Path) -> None:
    """Escape what names and values hold for HTML, which Great Expectations' pages show as it stands: they come with the data."""
    for path in place.rglob("*.json"):
        said = path.read_bytes()
        shown = said.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
        if shown != said:
            path.write_bytes(shown)


def _validated(gx: Any, context: Any, source: Any, frame: str, expectations: list[Any], data: pd.DataFrame) -> Any:
    asset = source.add_dataframe_asset(frame.replace(" ", "_"))
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=frame.replace(" ", "_"), expectations=expectations))
    definition = gx.ValidationDefinition(name=frame.replace(" ", "_"), data=batch, suite=suite)
    return context.validation_definitions.add(definition).run(batch_parameters={"dataframe": data}).results


def _check(result: Any, role: str, frame: str, file: File) -> tuple[tuple[int, str], Check]:
    config = result.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    broken = _exception(result.exception_info)
    status: Literal["passed", "failed", "error"] = "error" if broken else "passed" if result.success else "failed"
    column = kwargs.get("column")
    if frame == "facts":
        column = file.columns.get(
            str(column), str(column).removeprefix("type of ") if str(column).startswith("type of ") else None
        )
    elif frame == "labels":
        column = None
    absent = broken is not None and "in BatchData does not exist" in broken
    found = (
        "nothing, as the column is missing"
        if absent
        else f"could not be checked: {broken}"
        if broken
        else observed(frame, config.type, kwargs, result.result, bool(result.success), file)
    )
    meta = config.meta or {}
    name = str(meta.get("name", config.type.removeprefix("expect_").replace("_", " ")))
    check = Check(
        name=name if role == "train" else f"{name} ({role} file)",
        column=None if column is None else str(column),
        severity="warning" if str(getattr(config.severity, "value", config.severity)) != "critical" else "critical",
        status=status,
        expected=expected(frame, config.type, kwargs),
        observed=found,
    )
    return (int(meta.get(ORDER, 0)), "" if role == "train" else role), check


def _exception(info: Mapping[str, Any]) -> str | None:
    """The message of what was raised; it stands in the mapping itself, or in one mapping per metric."""
    for one in (info, *(part for part in info.values() if isinstance(part, dict))):
        if one.get("raised_exception"):
            return clip(" ".join(str(one.get("exception_message") or "no message").split()), 200)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither telemetry, nor progress bars, nor advice to developers."""
    os.environ.update(ENVIRONMENT)
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
