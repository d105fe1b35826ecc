"""Each example: its settings load, its source is pinned, and a short form of it goes from the command line to the end."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml

from abi.config import load_config
from flows import cli

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BENCH = Path(os.environ.get("ABI_BENCH", ROOT.parent / "shared" / "bench"))
FOLDERS = (
    "customer-service",
    "drifting-market",
    "financial-news",
    "long-tail",
    "multimodal-listing",
    "recommender",
    "robot",
    "speech",
    "vision",
)
IMPORTS = sorted(EXAMPLES.glob("*/*.dvc"))
SHORT = ("training.threads=1", "checks.data_docs=false")
with_data = pytest.mark.skipif(not BENCH.is_dir(), reason=f"needs the open sets in ABI_BENCH ({BENCH})")


@pytest.fixture(scope="module")
def kinds() -> ModuleType:
    """The benchmark, which knows what of the open sets each example reads."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("kinds", ROOT / "benchmarks" / "kinds.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["kinds"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A command line in this process, its stages as plain functions; what it prints."""
    import tasks.orchestration as module

    monkeypatch.setattr(
        module,
        "in_prefect",
        lambda ws: nullcontext(lambda call, clock, body, name: body(module.in_process(call, clock))),
    )

    def run(*words: str) -> Any:
        capsys.readouterr()
        code = cli.execute(list(words))
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return run


def test_there_is_a_folder_per_domain_with_settings_a_page_and_a_source() -> None:
    assert tuple(sorted(p.name for p in EXAMPLES.iterdir() if p.is_dir())) == FOLDERS
    listed = (EXAMPLES / "README.md").read_text()
    for name in FOLDERS:
        assert {"abi.yaml", "README.md", "prepare.py"} <= {p.name for p in (EXAMPLES / name).iterdir()}
        assert list((EXAMPLES / name).glob("*.dvc"))
        assert f"[{name}]({name})" in listed
        assert f"--config examples/{name}/abi.yaml" in (EXAMPLES / name / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_the_settings_load_and_are_short(path: Path) -> None:
    config = load_config(path)
    plain = yaml.safe_load(path.read_text())
    assert config.name == plain["name"]
    assert len(path.read_text().splitlines()) < 20


def test_every_example_is_measured_by_the_benchmark(kinds: ModuleType) -> None:
    assert {kind.settings for kind in kinds.KINDS.values() if kind.settings} == {
        f"{p.parent.name}/{p.name}" for p in EXAMPLES.glob("*/*.yaml")
    }


def test_urgency_is_by_intent_and_its_file_names_each_once() -> None:
    folder = EXAMPLES / "customer-service"
    levels = tomllib.loads((folder / "urgency.toml").read_text())
    named = [intent for intents in levels.values() for intent in intents]
    assert len(named) == len(set(named))
    requests = pd.DataFrame({"text": ["a", "b", "c", "d"], "intent": ["report_fraud", "bill_due", "tell_joke", "oos"]})
    made = runpy.run_path(str(folder / "prepare.py"))["with_urgency"](requests)
    assert made.to_dict("list") == {"text": ["a", "b", "c", "d"], "urgency": ["urgent", "soon", "can wait", "triage"]}


@with_data
def test_every_intent_of_the_urgency_file_is_one_of_the_requests() -> None:
    levels = tomllib.loads((EXAMPLES / "customer-service" / "urgency.toml").read_text())
    known = set(pd.read_parquet(BENCH / "clinc150" / "train.parquet")["intent"])
    assert {intent for intents in levels.values() for intent in intents} <= known


@pytest.mark.parametrize("path", IMPORTS, ids=lambda p: p.name)
def test_the_source_is_pinned_to_a_commit_and_a_single_file_to_its_md5(path: Path) -> None:
    stated = yaml.safe_load(path.read_text())
    assert stated["frozen"] is True
    (dep,), (out,) = stated["deps"], stated["outs"]
    assert path.name == f"{out['path']}.dvc"
    if "repo" in dep:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", dep["repo"]["url"])
        assert re.fullmatch(r"[0-9a-f]{40}", dep["repo"]["rev_lock"])
        assert dep["repo"]["rev"] == dep["repo"]["rev_lock"]  # else `dvc update` would move on
        assert "md5" not in out
    else:
        assert re.match(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/", dep["path"])
        assert re.fullmatch(r"[0-9a-f]{32}", out["md5"])
        assert out["size"] > 0
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "-q", f"{path.parent}/{out['path']}{'/x' if 'repo' in dep else ''}"],
        cwd=ROOT,
        check=False,
    )
    assert ignored.returncode == 0, "what is fetched must not be committed"


def test_what_was_fetched_is_kept_where_its_md5_is_as_stated_and_refused_where_not(tmp_path: Path) -> None:
    source, repository = tmp_path / "source.csv", tmp_path / "repository"
    source.write_text("a,b\n1,2\n")
    (repository / "market").mkdir(parents=True)
    (repository / "fetch.py").write_text((EXAMPLES / "fetch.py").read_text())
    stated = repository / "market" / "source.csv.dvc"
    md5 = hashlib.md5(b"a,b\n1,2\n", usedforsecurity=False).hexdigest()
    text = f"frozen: true\ndeps:\n- path: {source}\nouts:\n- md5: {md5}\n  size: 8\n  hash: md5\n  path: source.csv\n"
    stated.write_text(text)
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    dvc = [sys.executable, "-m", "dvc", "init", "-q", "--no-scm"]
    subprocess.run(dvc, cwd=repository, check=True, env=environment)
    fetch = [sys.executable, "fetch.py", "market"]
    good = subprocess.run(fetch, cwd=repository, check=False, env=environment, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert (repository / "market" / "source.csv").read_text() == "a,b\n1,2\n"
    assert stated.read_text() == text
    source.write_text("a,b\n1,3\n")
    bad = subprocess.run(fetch, cwd=repository, check=False, env=environment, capture_output=True, text=True)
    assert bad.returncode == 3
    assert f"Expected MD5 {md5}" in bad.stderr
    assert not (repository / "market" / "source.csv").exists()
    assert stated.read_text() == text
    source.unlink()
    for name, code, said in (
        ("market/", 1, "Expected the source of market/source.csv.dvc from its address, got nothing"),
        ("elsewhere", 2, "Expected the name of an example with a source (market), got elsewhere."),
        ("", 2, "Expected the name of an example with a source (market), got none."),
    ):
        told = subprocess.run(
            [*fetch[:2], name], cwd=repository, check=False, env=environment, capture_output=True, text=True
        )
        assert (told.returncode, "Traceback" in told.stderr) == (code, False), told.stderr
        assert said in told.stderr
    assert stated.read_text() == text


@with_data
@pytest.mark.parametrize(
    "name",
    [
        "customer-service",
        "customer-service-urgency",
        "financial-news",
        "daily-news",
        "speech",
        "multimodal-listing",
        "recommender",
        "long-tail",
    ],
)
def test_the_plan_of_a_few_rows_is_made(
    name: str, kinds: ModuleType, command: Callable[..., Any], tmp_path: Path
) -> None:
    words = kinds.words(name, tmp_path, (*SHORT, *kinds.QUICK), 300)
    plan = command(*words, "--dry-run")
    assert plan["kind"] == "Plan"


@with_data
@pytest.mark.parametrize("name", ["vision", "robot"])
def test_a_few_rows_go_through_the_whole_flow(
    name: str, kinds: ModuleType, command: Callable[..., Any], tmp_path: Path
) -> None:
    words = kinds.words(name, tmp_path, (*SHORT, *kinds.QUICK), 300)
    answer = command(*words)
    found = kinds.trained(answer, tmp_path)
    kind = kinds.KINDS[name]
    assert {kind.metric} <= set(found["model"]) & set(found["uniform"]) & set(found["baseline"])
    assert set(found["parameters"]) == {"model", "uniform", "baseline"}
    assert answer["attention"]
    if name == "vision":
        assert found["macs"]["model"] <= found["macs"]["control"]


@with_data
def test_a_market_is_followed(kinds: ModuleType, command: Callable[..., Any], tmp_path: Path) -> None:
    settings = (*SHORT, *kinds.QUICK, "adapt.window=100", "adapt.cooldown=100")
    found = kinds.streamed(command(*kinds.words("drifting-market", tmp_path, settings, 300)))
    assert 0 < found["model"]["accuracy"] <= 1
    assert found["persistence"]["accuracy"] > 0
    assert found["scored"] > 400
