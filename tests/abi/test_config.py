"""Settings: where they come from, which go first, and what is said about wrong ones."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from abi.config import Config, load_config
from abi.errors import UsageError
from abi.execution.types import Objective
from abi.recipes import TrainingConfig
from abi.settings_file import read
from abi.types import Envelope


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("ABI_SEED", "ABI_NAME", "ABI_ENVELOPE__PARAMETERS"):
        monkeypatch.delenv(name, raising=False)


def _write(text: str | bytes, name: str = "abi.yaml") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_with_nothing_configured_the_defaults_hold() -> None:
    assert load_config() == Config.model_construct()
    assert load_config().model_dump() == Config().model_dump()


def test_flags_go_before_environment_before_yaml_before_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("[tool.abi]\nseed = 1\n", "pyproject.toml")
    assert load_config().seed == 1
    _write("seed: 2\n")
    assert load_config().seed == 2
    monkeypatch.setenv("ABI_SEED", "3")
    assert load_config().seed == 3
    assert load_config(settings={"seed": 4}).seed == 4


def test_sources_are_merged_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(
        "[tool.abi.envelope]\nmemory = '1GiB'\nlatency = '1ms'\ntrain_time = '1s'\nparameters = 1\n", "pyproject.toml"
    )
    _write("envelope:\n  latency: 2ms\n  train_time: 2s\n  parameters: 2\n")
    monkeypatch.setenv("ABI_ENVELOPE__TRAIN_TIME", "3s")
    monkeypatch.setenv("ABI_ENVELOPE__PARAMETERS", "3")
    limits = load_config(settings={"envelope.parameters": "4k"}).envelope.limits()
    assert limits == Envelope(parameters=4000, memory_bytes=2**30, train_time_s=3.0, latency_s=0.002)


def test_an_asked_for_file_stands_in_for_the_one_in_the_folder(tmp_path: Path) -> None:
    _write("seed: 1\nname: here\n")
    other = _write("seed: 2\n", "other.yaml")
    assert (load_config(other).seed, load_config(other).name) == (2, None)


def test_reading_one_file_leaves_no_trace_in_the_next_reading() -> None:
    load_config(_write("seed: 9\n", "other.yaml"))
    assert load_config().seed == 0


def test_an_empty_file_is_no_settings() -> None:
    _write("# nothing yet\n")
    assert load_config().seed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parameters: 200k", Envelope(parameters=200_000)),
        ("memory: 8589934592", Envelope(memory_bytes=2**33)),
        ("memory: 8GiB", Envelope(memory_bytes=2**33)),
        ("train_time: 90", Envelope(train_time_s=90.0)),
        ("train_time: 1.5min", Envelope(train_time_s=90.0)),
        ("latency: 2ms", Envelope(latency_s=0.002)),
    ],
)
def test_quantities_may_have_units(text: str, expected: Envelope) -> None:
    nothing = "".join(f"  {k}: null\n" for k in ("parameters", "memory", "train_time", "latency") if k not in text)
    _write(f"envelope:\n{nothing}  {text}\n")
    assert load_config().envelope.limits() == expected


def test_unrelated_environment_variables_do_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABI_WORKSPACE", "/somewhere")
    monkeypatch.setenv("ABI_BENCH", "/elsewhere")
    assert load_config() == Config.model_construct()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: red", "Expected a known setting, got 'colour': `abi config schema` lists them."),
        ("data:\n  sepal: 1", "Expected a known setting, got 'data.sepal': `abi config schema` lists them."),
        ("seed: soon", "Setting 'seed': .*integer.* \\(got 'soon'\\)"),
        ("seed: -1", "Setting 'seed': .*greater than or equal to 0 \\(got -1\\)"),
        ("envelope: 5", "Setting 'envelope': .* \\(got 5\\)"),
        ("envelope:\n  memory: 5", "Setting 'envelope.memory': Expected a size such as 8GiB, got 5"),
        ("envelope:\n  memory: 8 cows", "Setting 'envelope.memory': Expected a size such as 8GiB, got '8 cows'"),
        ("envelope:\n  parameters: 0", "Setting 'envelope.parameters': Expected a count above zero"),
        ("envelope:\n  latency: fast", "Setting 'envelope.latency': Expected a time such as 10min, got 'fast'"),
        ("data:\n  validation: 1.0", "Setting 'data.validation': .*less than 1"),
        ("data:\n  columns:\n    age: number", "Setting 'data.columns.age'"),
        (
            "scoring:\n  pieces: false",
            "Expected 'auto', 'on' or 'off' \\(got False\\): `abi config schema` lists what it takes",
        ),
        ("data:\n  encoders:\n    t: 5", "Setting 'data.encoders.t': Expected its parts, as {name: value} \\(got 5\\)"),
        ("attention:\n  cap: 0", "Setting 'attention.cap': .*greater than 0"),
        ("attention:\n  temperatures: warm", "Setting 'attention.temperatures'"),
        ("evaluation:\n  metric: f1", "Setting 'evaluation.metric'"),
        (
            "data:\n  mentions: text",
            "Setting 'data.mentions': Expected 'auto' or a valid dictionary \\(got 'text'\\)",
        ),
        ("data:\n  series:\n    channels: 3", "Setting 'data.series.channels': Expected 'all' or a valid tuple"),
        (
            "data:\n  media:\n    mirror: maybe",
            "Setting 'data.media.mirror': Expected 'auto' or a valid boolean",
        ),
        (
            "data:\n  media:\n    mirror: false\n    mirror_predictions: true",
            "Setting 'data.media': Expected data.media.mirror to be auto or true .*, got false",
        ),
        ("name: a/b", "Setting 'name'"),
        ("just words", "Expected readable settings in abi.yaml"),
        (b"\xff\xfe\x00", "Expected readable settings in abi.yaml"),
    ],
)
def test_a_wrong_setting_is_one_sentence(text: str | bytes, message: str) -> None:
    _write(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_config()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-0", 0),
        ("1e5", 1e5),
        (".5", 0.5),
        (".inf", float("inf")),
        ("~", None),
        ("", None),
        ("True", True),
        ("1_000", "1_000"),
        ("2024-01-05", "2024-01-05"),
        ("yes", "yes"),
        ("1:30", "1:30"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read(f"a: {text}")["a"]
    assert (type(found), found) == (type(value), value)


def test_a_merged_mapping_may_have_a_name_again() -> None:
    assert read("a: {b: &b {<<: {x: 1}, x: 2}}\nc: {<<: *b, x: 3}") == {"a": {"b": {"x": 2}}, "c": {"x": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attention: {temperatures: [true, 0.5]}", r"'attention\.temperatures': Expected a number, got true"),
        (
            "training: {epochs: 9007199254740992}",
            "'training.epochs': Expected a whole number of at most 9007199254740991",
        ),
        ("training: {learning_rate: .inf}", r"'training\.learning_rate': Expected a finite number"),
        ("attention: {caution: .nan}", r"'attention\.caution': Expected a finite number"),
    ],
)
def test_numbers_that_a_record_cannot_have_are_refused(text: str, message: str) -> None:
    _write(text)
    with pytest.raises(UsageError, match=message):
        load_config()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("seed: 1\nseed: 2", r"line 2, column 1: 'seed' stands there twice"),
        ("envelope: {parameters: 1k, parameters: 2k}", r"line 1, column 28: 'parameters' stands there twice"),
        ("1: 2", "a name is 1, put it in quotes"),
        ("true: 2", "a name is True, put it in quotes"),
        (f"seed: {'1' * 5000}", r"line 1, column 7: '1{20}'\.\.\. is no whole number"),
        ("seed: !!int abc", "line 1, column 7: 'abc' is no whole number"),
        ("name: !!timestamp 2024-99-01", r"not what its tag says \(month must be in"),
        ("seed: !!bool maybe", "not what its tag says"),
        ("seed: !!float ''", "not what its tag says"),
        ("name: !!timestamp x", "not what its tag says"),
        ("attention: [{a: 1, a: 2}]", r"line 1, column 20: 'a' stands there twice"),
        ("name: " + "[" * 3000, "nested too deeply"),
        ("- [seed, 5]", "a list in place of names with values"),
        ("hello", "a str in place of names with values"),
        ("seed: 1\n name: x", "line 2, column 6: mapping values are not allowed here"),
    ],
)
def test_a_file_says_where_it_is_wrong_and_nothing_is_lost_in_it(text: str, got: str) -> None:
    _write(text)
    with pytest.raises(UsageError, match=rf"Expected readable settings in abi\.yaml, got: .*{got}"):
        load_config()


def test_what_is_merged_in_a_file_may_be_said_anew() -> None:
    _write("envelope: &small {parameters: 2k, memory: 1GiB}\ndata: {columns: {}}\n")
    assert load_config().envelope.parameters == 2000
    _write("envelope:\n  <<: {parameters: 2k, memory: 1GiB}\n  parameters: 3k\n")
    assert (load_config().envelope.parameters, load_config().envelope.memory) == (3000, 2**30)


@pytest.mark.parametrize(
    ("key", "optional"),
    [
        ("gates.baseline", True),
        ("gates.calibration", True),
        ("training.epochs", True),
        ("adapt.every", False),
        ("seed", False),
    ],
)
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(key: str, optional: bool, value: bool) -> None:
    said = f"Setting '{key}': Expected a number{' or null' if optional else ''}, got {str(value).lower()}"
    with pytest.raises(UsageError, match=re.escape(said)):
        load_config(settings={key: value}, ambient=False)


def test_a_switch_takes_them() -> None:
    assert load_config(settings={"gates.signal": False, "data.media.mirror": True}, ambient=False).gates.signal is False


def test_a_section_and_its_parts_are_laid_over_one_another() -> None:
    given = {"data": {"columns": {"a.b": "numeric"}}, "data.validation": 0.3, "data.columns.c": "text"}
    kept = copy.deepcopy(given)
    found = load_config(settings={"data.test": 0.4, **given}, ambient=False).data
    assert (found.columns, found.validation, found.test) == ({"a.b": "numeric", "c": "text"}, 0.3, 0.4)
    assert given == kept
    with pytest.raises(UsageError, match=r"one value for a setting, got two for 'envelope\.parameters'"):
        load_config(settings={"envelope.parameters": 5, "envelope": {"parameters": 6}}, ambient=False)


def test_a_section_that_is_misspelt_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABI_ENVELOP__PARAMETERS", "10k")
    with pytest.raises(UsageError, match=r"variable ABI_ENVELOP__PARAMETERS, got 'envelop', did you mean 'envelope'\?"):
        load_config()
    assert load_config(ambient=False).envelope.parameters == 250_000


@pytest.mark.parametrize(
    "text", ["a: [1, 2", "a: b: c", "- 1\n- 2\n", "\tseed: 1", "seed: !!python/object:os.system {}"]
)
def test_what_is_no_yaml_mapping_is_one_sentence_that_names_the_file(text: str) -> None:
    _write(text)
    with pytest.raises(UsageError, match=r"Expected readable settings in abi\.yaml") as caught:
        load_config()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("time", ["0", "-5", ".nan", "true", ".inf"])
def test_a_bare_time_is_a_number_above_zero(time: str) -> None:
    _write(f"envelope:\n  train_time: {time}\n")
    with pytest.raises(UsageError, match=r"Setting 'envelope\.train_time'"):
        load_config()


@pytest.mark.parametrize("temperature", ["0", "-1", ".nan"])
def test_a_temperature_is_above_zero(temperature: str) -> None:
    _write(f"attention:\n  temperatures: [1.0, {temperature}]\n")
    with pytest.raises(UsageError, match=r"Setting 'attention\.temperatures"):
        load_config()


@pytest.mark.parametrize("settings", [{"seed": 1, "seed.x": 2}, {"envelope": 3, "envelope.memory": "2GiB"}])
def test_a_key_below_a_plain_value_is_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"seed|envelope"):
        load_config(settings=settings)


@pytest.mark.parametrize(("name", "text"), [("ABI_ENVELOPE__TRAIN_TIME", "180"), ("ABI_ENVELOPE__MEMORY", str(2**33))])
def test_a_bare_number_means_the_same_in_the_environment_as_in_the_file(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(f"envelope:\n  {name.rsplit('__', maxsplit=1)[-1].lower()}: {text}\n")
    from_file = load_config()
    Path("abi.yaml").unlink()
    monkeypatch.setenv(name, text)
    assert load_config() == from_file


@pytest.mark.parametrize(("text", "expected"), [("all", "all"), ("note", ("note",)), ("[note, all]", ("note", "all"))])
def test_a_name_that_stands_alone_is_a_list_of_one(text: str, expected: object) -> None:
    _write(f"data:\n  sequences: {text}\n")
    assert load_config().data.sequences == expected


def test_a_missing_file_is_named_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"settings file at none\.yaml, found none: write one with `abi init`"):
        load_config(Path("none.yaml"))


def test_broken_environment_and_pyproject_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABI_ENVELOPE", "no json")
    with pytest.raises(UsageError, match="envelope"):
        load_config()
    monkeypatch.delenv("ABI_ENVELOPE")
    _write("[tool.abi\n", "pyproject.toml")
    with pytest.raises(UsageError, match="Expected readable settings"):
        load_config()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config().seed = 3


def test_the_digest_follows_the_named_sections_alone() -> None:
    plain, other = load_config(), load_config(settings={"seed": 5, "data.validation": 0.3})
    assert plain.digest() == load_config().digest()
    assert plain.digest() != other.digest()
    assert plain.digest("scoring", "attention") == other.digest("scoring", "attention")
    assert plain.digest("data") != other.digest("data")


def test_own_devices_come_back_from_their_json() -> None:
    config = load_config(settings={"devices": {"Rented": {"like": "H100", "memory": "40GiB", "launch": "5us"}}})
    plain = config.model_dump(mode="json")
    again = Config.restore(json.loads(json.dumps(plain)))
    assert again.devices == config.devices
    assert again.devices["Rented"].launch == pytest.approx(5e-6)
    assert "devices" not in config.recorded()
    assert config.digest() == load_config().digest()  # what is trained does not depend on them


def test_objectives_are_the_planner_s_and_the_usual_one_leaves_settings_as_they_were_recorded() -> None:
    field = TrainingConfig.model_fields["objective"]
    assert get_args(field.annotation) == get_args(Objective)
    assert "objective" not in load_config().recorded()["training"]
    assert load_config(settings={"training.objective": "cost"}).recorded()["training"]["objective"] == "cost"


def test_a_broken_pyproject_is_named_and_not_the_settings_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.abi\n")
    (tmp_path / "abi.yaml").write_text("seed: 1\n")
    with pytest.raises(UsageError, match=r"^Expected readable settings in pyproject\.toml, got: "):
        load_config()


def test_null_in_the_environment_is_none_as_in_yaml_where_a_setting_takes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "abi.yaml").write_text("name: shop\nenvelope: {memory: 8GiB}\n")
    monkeypatch.setenv("ABI_NAME", "null")
    monkeypatch.setenv("ABI_ENVELOPE__MEMORY", "null")
    config = load_config()
    assert config.name is None
    assert config.envelope.memory is None
    monkeypatch.setenv("ABI_SEED", "null")
    with pytest.raises(UsageError, match="'seed'"):
        load_config()
