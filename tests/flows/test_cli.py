from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Annotated

import pytest
import yaml

from abi.config import Config
from tasks.workspace import Workspace

HEAVY = ["torch", "pandas", "mlflow", "prefect", "numpy", "pydantic", "sklearn", "dvc"]


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from flows.cli import execute
execute(["--help"])
execute(["run", "--help"])
print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"
    for verb in ("run", "check", "score", "fit", "plan", "train", "eval", "report", "init", "config", "doctor", "demo"):
        assert f" {verb} " in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "x.csv"], "got 'rnu': did you mean 'run'?"),
        (["run", "x.csv", "--target", "y", "--bugdet", "memory=8GiB"], "got '--bugdet': did you mean '--budget'?"),
        (["run", "x.csv", "--target", "y", "--zzzzzz"], "got '--zzzzzz': see `abi run --help`."),
        (["run", "x.csv", "--tagret", "y"], "Expected --target and its value, got '--tagret'"),
        (["run", "x.csv", "--target"], "Expected a value after --target, got none"),
        (["-q", "run", "x.csv"], "got '-q': options stand behind it"),
        (["run", "x.csv", "--target", "y", "--seed", "1", "--seed", "2"], "Expected --seed once"),
        (["explain", "-"], "standard input only where a file is read"),
        (["run", "x.csv"], "--target"),
        (["run"], "Expected DATA, got none: add it; see `abi run --help`."),
        (["run", "x.csv", "y.csv", "--target", "y"], "y.csv"),
        (["run", "x.csv", "--target", "y", "--seed", "soon"], "Expected a whole number for --seed, got 'soon'"),
        (["run", "x.csv", "--target", "y", "--seed", "-1"], "seed"),
        (["run", "x.csv", "--target", "y", "--budget", "speed=9"], "latency="),
        (["run", "x.csv", "--target", "y", "--budget", "memory"], "'memory'"),
        (["run", "x.csv", "--target", "y", "--budget", "latency=2ms,speed=9"], "got 'speed=9'"),
        (
            ["run", "x.csv", "--target", "y", "--budget", "memory=2GiB", "--budget", "latency=2ms,memory=1GiB"],
            "Expected one value of --budget memory, got 2GiB and 1GiB",
        ),
        (["run", "x.csv", "--target", "y", "--budget", "memory=8"], "8GiB"),
        (["run", "x.csv", "--target", "y", "--budget", "memory=lots"], "GiB"),
        (["run", "x.csv", "--target", "y", "--budget", "train_time=-3s"], "train_time"),
        (["run", "x.csv", "--target", "y", "--set", "seed"], "section.key=value"),
        (["run", "x.csv", "--target", "y", "--set", "training.epoch=3"], "'training.epoch'"),
        (["run", "x.csv", "--target", "y", "--set", "training.epochs=many"], "training.epochs"),
        (["run", "x.csv", "--target", "y", "--set", "training=3"], "'training'"),
        (["run", "x.csv", "--target", "y", "--set", "seed.high=3"], "seed"),
        (["run", "x.csv", "--target", "y", "--set", "=3"], "section.key=value"),
        (["run", "x.csv", "--target", "y", "--set", ".=3"], "''"),
        (["run", "x.csv", "--target", "y", "--set", "attention.temperatures=[1,"], "attention.temperatures"),
        (["run", "x.csv", "--target", "y", "--name", "a/b"], "'a/b'"),
        (["run", "x.csv", "--target", "y", "--config", "none.yaml"], "abi init"),
        (["replay", "a/1", "--what-if", "memory=1GiB", "--retrain"], "Expected --what-if or --retrain, got both"),
        (["predict", "x.csv", "--version", "1", "--alias", "champion"], "Expected --version or --alias, got 1 and"),
        (["serve", "--version", "1", "--alias", "previous"], "Expected --version or --alias, got 1 and 'previous'"),
        (["score", "checks.json", "--test", "y.csv"], "Expected --test beside a data file with --target"),
        (["metrics", "--host", "0.0.0.0"], "Expected --serve PORT beside --host 0.0.0.0"),
        (["metrics", "--serve", "0", "--json"], "Expected --serve 0 or --json, got both"),
        (["schedule", "--show", "--cron", "0 3 * * *"], "Expected --show without --cron"),
        (["schedule", "x.csv", "--pause", "--target", "y"], "Expected --pause without --target"),
        (["schedule", "x.csv", "--target", "y", "--serve", "--pool", "p"], "Expected --serve without --pool"),
        (["config", "shwo"], "`abi config`, got 'shwo': did you mean 'show'?"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(abi, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    answer = abi(*words)
    assert answer.code == 2
    assert said in answer.sentence
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".gitignore"]


def test_the_same_setting_of_one_section_twice_keeps_the_last(abi):
    shown = abi(
        "config", "show", "--set", "training.epochs=3", "--set", "training.epochs=4", "--set", "training.bins=8"
    )
    assert (shown.json["training"]["epochs"], shown.json["training"]["bins"]) == (4, 8)


def test_init_writes_the_defaults_and_never_over_a_file(abi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert abi("init").code == 0
    text = Path("abi.yaml").read_text()
    assert abi("config", "show").json == Config().model_dump(mode="json")
    written = yaml.safe_load(text)
    assert set(written) == set(Config.model_fields)
    for name, section in written.items():
        if isinstance(section, dict) and name != "devices":  # whose keys are names of cards
            assert set(section) == set(type(getattr(Config(), name)).model_fields)
    assert all("#" in line for line in text.splitlines() if line)

    Path("abi.yaml").write_text("seed: 7\n")
    again = abi("init")
    assert again.code == 2
    assert "--force" in again.sentence
    assert abi("config", "show").json["seed"] == 7
    assert abi("init", "--force", "--json").json == {"config": "abi.yaml"}
    assert Path("abi.yaml").read_text() == text


def test_the_demo_s_table_is_written_as_its_name_says(abi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert abi("demo", "--write", "new/t.csv", "--json").json == {"data": "new/t.csv"}
    assert abi("demo", "--write", "t.csv.gz").err == "wrote t.csv.gz\n"
    packed = Path("t.csv.gz").read_bytes()
    assert gzip.decompress(packed) == Path("new/t.csv").read_bytes()
    assert abi("demo", "--write", "t.csv.gz", "-q").err == ""
    assert Path("t.csv.gz").read_bytes() == packed
    for words, said in ((["t.parquet"], "as a .csv or .csv.gz file"), (["t.csv", "--out", "o"], "--write or --out")):
        answer = abi("demo", "--write", *words)
        assert (answer.code, said in answer.sentence) == (2, True)
    closed = abi("demo", "--write", "t.csv.gz/t.csv")
    assert (closed.code, "with --write." in closed.sentence) == (1, True)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "t.csv.gz"}


def test_init_where_no_file_can_be_written(abi, tmp_path):
    (tmp_path / "file").touch()
    answer = abi("init", "--config", tmp_path / "file" / "abi.yaml")
    assert (answer.code, "abi.yaml" in answer.sentence) == (1, True)
    assert abi("init", "--config", tmp_path / "new" / "abi.yaml").code == 0
    assert (tmp_path / "new" / "abi.yaml").is_file()


@pytest.mark.parametrize(
    "text", ["seed: [", "- seed\n", "seeed: 3\n", "training:\n  epochs: 0\n", "training: 3\n", "\0"]
)
def test_a_wrong_settings_file_is_one_sentence(abi, tmp_path, text):
    path = tmp_path / "abi.yaml"
    path.write_text(text)
    answer = abi("config", "show", "--config", path)
    assert answer.code == 2
    assert answer.sentence


def test_flags_go_before_the_environment_and_that_before_the_file(abi, tmp_path, monkeypatch):
    path = tmp_path / "abi.yaml"
    path.write_text("seed: 1\ntraining:\n  epochs: 1\n  bins: 10\n")
    monkeypatch.setenv("ABI_TRAINING__EPOCHS", "2")
    shown = abi("config", "show", "--config", path, "--seed", "3").json
    assert (shown["seed"], shown["training"]["epochs"], shown["training"]["bins"]) == (3, 2, 10)


def test_schema_describes_every_setting(abi):
    schema = abi("config", "schema").json
    assert set(schema["properties"]) == set(Config.model_fields)
    for section in schema["$defs"].values():
        assert all(field.get("description") for field in section.get("properties", {}).values())


def test_doctor_names_what_to_mend(abi, tmp_path):
    answer = abi("doctor", "--workspace", tmp_path / "ws", "--json")
    findings = {finding["name"]: finding for finding in answer.json["findings"]}
    assert {"torch", "mlflow", "prefect", "dvc", "workspace", "disk", "device"} <= set(findings)
    assert answer.code == (0 if all(finding["ok"] for finding in findings.values()) else 1)
    assert findings["workspace"]["found"] == f"none at {tmp_path / 'ws'} yet: `abi run` makes it"
    assert not list(tmp_path.iterdir())
    Workspace.open(tmp_path / "ws")
    there = {f["name"]: f["found"] for f in abi("doctor", "--workspace", tmp_path / "ws", "--json").json["findings"]}
    assert there["workspace"] == str(tmp_path / "ws")
    (tmp_path / "file").touch()
    answer = abi("doctor", "--workspace", tmp_path / "file")
    assert answer.code == 1
    assert "MEND  workspace" in answer.out
    assert "--workspace" in answer.out


def test_json_is_alone_on_stdout_and_lines_go_to_stderr(command, data, tmp_path):
    answer = command(
        "check", data, "--target", "label", "--workspace", tmp_path / "ws", "--json", "--set", "checks.data_docs=false"
    )
    assert answer.code == 0, answer.err
    assert answer.json["kind"] == "Checks"
    assert "\x1b" not in answer.err + answer.out
    assert "INFO" not in answer.err
    assert all(line.startswith(("validate ", "snapshot ", " ")) for line in answer.err.splitlines())


def test_quiet_is_silent_and_people_get_a_table(abi, data, tmp_path):
    flags = ["check", data, "--target", "label", "--workspace", tmp_path / "ws", "--set", "checks.data_docs=false"]
    quiet = abi(*flags, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    shown = abi(*flags)
    assert "checks passed" in shown.out
    assert "validate  " in shown.err


def test_a_reader_that_stops_early_is_no_error(data, tmp_path):
    command = f"{sys.executable} -c 'from flows.cli import main; main()' config schema | head -n 1"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "{\n", "")


@pytest.mark.parametrize("words", ["--help", "run --help", "config show --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(tmp_path, words, unbuffered):
    """The reader's end is closed before a word is written."""
    code = f"import sys; sys.stdin.read(); from flows.cli import main; sys.argv[1:] = {words.split()}; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        process.stdout.close()
        process.stdin.close()
        said = process.stderr.read()
        assert (process.wait(timeout=120), said) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full")
@pytest.mark.parametrize("words", ["--help", "config show", "keys show"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_no_room_for_the_answer_is_one_sentence(tmp_path, words, unbuffered):
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": unbuffered}
    (tmp_path / ".abi").mkdir()
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", "from flows.cli import main; main()", *words.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path, env=kept,
        )  # fmt: skip
    said = "abi: Expected room for the answer on standard output, got no space left on device: send it elsewhere.\n"
    assert (ran.returncode, ran.stderr) == (1, said)


def test_a_sign_that_standard_output_cannot_show_ends_no_command(command, tmp_path):
    """Text for a person is told in plain letters; JSON stays UTF-8."""
    shown = "import flows.commands as c, tasks.stdout as s; c.doctor = lambda _: print('0.5\u20130.7, \u22121, \u00e9')"
    told = command("doctor", before=shown, PYTHONIOENCODING="ascii")
    assert (told.code, told.out, told.err) == (0, "0.5-0.7, -1, \\xe9\n", "")
    (tmp_path / "abi.yaml").write_text("name: caf\u00e9\n", encoding="utf-8")
    answer = command("config", "show", "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (answer.code, answer.json["name"]) == (0, "caf\u00e9")


def test_a_lone_dash_is_standard_input_only_where_a_file_is_read(abi, monkeypatch):
    from flows import commands, promoting

    asked = []
    monkeypatch.setattr(commands, "score", lambda *words: asked.append(words[:2]))
    monkeypatch.setattr(commands, "stage", lambda *words: asked.append(words[:2]))
    monkeypatch.setattr(promoting, "_call", lambda model, _: asked.append(model) or sys.exit(0))
    for words in (["score", "-", "--target", "-"], ["score", "-q", "-"], ["fit", "--json", "--", "-"]):
        assert abi(*words).code == 0
    assert abi("rollback", "--reason", "x", "--model", "-").code == 0
    assert asked == [("/dev/stdin", "-"), ("/dev/stdin", None), ("fit", "/dev/stdin"), "-"]


def test_a_newline_in_a_name_leaves_the_error_one_line(abi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert abi("score", "no\nne.json").sentence.startswith(
        "abi: Expected a JSON document that an `abi` stage printed at no\\nne.json, got"
    )


def test_an_error_of_ours_is_a_sentence_and_with_v_a_traceback(abi, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("flows.commands.show_config", broken)
    answer = abi("config", "show")
    assert answer.code == 1
    assert answer.err == "abi: Unexpected ZeroDivisionError: division (run again with -v for the traceback).\n"
    with pytest.raises(ZeroDivisionError):
        abi("config", "show", "-v")


def test_a_file_that_the_system_refuses_is_named(abi, monkeypatch):
    def broken(*_: object) -> None:
        Path("/proc/none").mkdir()

    monkeypatch.setattr("flows.commands.show_config", broken)
    answer = abi("config", "show")
    said = "abi: Expected to read or write /proc/none, got no such file or directory (run again with -v for the traceback).\n"
    assert (answer.code, answer.err) == (1, said)


def test_a_link_to_itself_is_no_workspace_and_no_data(abi, data, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    workspace = abi("run", data, "--target", "label", "--workspace", tmp_path / "loop")
    assert "Expected a place that can be written at" in workspace.sentence
    rows = abi("run", tmp_path / "loop", "--target", "label", "--workspace", tmp_path / "ws")
    assert "Expected a readable file at" in rows.sentence


def test_the_plain_module_knows_its_version(abi):
    import importlib.metadata

    assert abi("--version").out.strip() == importlib.metadata.version("abi-instrument")
    assert json.dumps(abi("config", "show").json)


def test_an_interruption_inside_a_serialiser_is_one(monkeypatch, capsys):
    """Pydantic's serialiser turns what strikes while it calls Python into an error of its own."""
    from pydantic import PlainSerializer, RootModel

    from flows import cli

    def struck(value):
        raise KeyboardInterrupt

    model = RootModel[Annotated[int, PlainSerializer(struck)]]
    monkeypatch.setattr(cli, "app", lambda *_, **__: model(1).model_dump_json())
    assert cli.execute(["run"]) == 130
    assert capsys.readouterr().err == f"abi: {cli.STOPPED}\n"


@pytest.mark.parametrize(
    ("raised", "number"), [("KeyboardInterrupt", signal.SIGINT), ("TerminationSignal", signal.SIGTERM)]
)
def test_a_signal_that_strikes_in_a_callback_comes_again(monkeypatch, raised, number):
    """Python only prints what is raised in a weak reference's callback: a stop would be lost there."""
    from flows import cli

    monkeypatch.setattr(sys, "unraisablehook", cli._once_more)
    came = threading.Event()
    before = signal.signal(number, lambda *_: came.set())
    kind = type(raised, (BaseException,), {})

    class Held:
        pass

    def strike(_):
        raise kind

    held = Held()
    reference = weakref.ref(held, strike)
    try:
        del held
        assert came.wait(10)
    finally:
        signal.signal(number, before)
    assert reference() is None


def test_what_else_cannot_be_raised_is_still_printed(monkeypatch, capsys):
    from flows import cli

    monkeypatch.setattr(sys, "unraisablehook", cli._once_more)

    class Broken:
        def __del__(self):
            raise ValueError("lost")

    Broken()
    assert "lost" in capsys.readouterr().err
