from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from abi.documents import document
from abi.execution.types import ExecutionPlan
from abi.problem import Snapshot
from tasks.residuals import keep_execution
from tasks.workspace import Workspace

MODULE = """
from torch import nn


def mlp():
    return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 2))


def deep():
    blocks = [nn.Sequential(nn.Linear(1024, 1024), nn.ReLU()) for _ in range(4)]
    return nn.Sequential(nn.Linear(128, 1024), nn.Sequential(*blocks), nn.Linear(1024, 2))


def loss(output, arguments):
    return output.square().sum()


def raising():
    raise RuntimeError("no weights here")


def exits():
    raise SystemExit(3)


def needs(width):
    return nn.Linear(128, width)


def lazy():
    return nn.LazyLinear(2)


def meta():
    return nn.Linear(128, 2, device="meta")


def nothing(parameters):
    return None


class Whole(nn.Linear):
    def __init__(self):
        super().__init__(128, 2)

    def forward(self, x):
        return super().forward(x).argmax(-1)


class Loud(nn.Linear):
    def __init__(self):
        print("built")
        super().__init__(128, 2)

    def forward(self, x):
        import os

        os.write(1, b"called")
        return super().forward(x)


class Endless(nn.Linear):
    def __init__(self):
        super().__init__(128, 2)

    def forward(self, x):
        while True:
            try:
                x = x + 1
            except Exception:
                pass


class Crashes(Whole):
    def forward(self, x):
        import ctypes

        return ctypes.string_at(0)


class Leaves(Whole):
    def forward(self, x):
        import os

        os._exit(0)


class EndlessInC(Whole):
    def forward(self, x):
        import itertools

        return sum(itertools.repeat(0))
"""
ROOT = Path(__file__).parents[2]
ASKED = {"--module": "toy_modules:mlp", "--batch": "x=f32[B,128]", "--gpus": "2xL4", "--global-batch": "256"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the user's own module in it, from which the command line is called."""
    (tmp_path / "toy_modules.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def plan(abi, tmp_path):
    def run(*words, **changed):
        asked = ASKED | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
        flags = [word for pair in asked.items() if pair[1] is not None for word in pair]
        return abi("plan", *flags, "--workspace", tmp_path / "ws", *words)

    return run


def test_a_plan_as_json_is_the_same_every_time(plan):
    first, again = plan("--json"), plan("--json")
    assert first.code == 0
    assert first.out == again.out
    value = ExecutionPlan.from_json(first.json["value"])
    assert value.id == first.json["id"]
    choice = value.configuration
    assert choice.micro_batch * choice.accumulation * choice.devices == 256
    assert value.footprint.parameters == 128 * 256 + 256 + 256 * 2 + 2
    assert value.job.row_bytes == 512


def test_a_plan_for_people_fits_eighty_columns(plan):
    answer = plan(
        "--explain",
        "--no-color",
        module="toy_modules:deep",
        loss="toy_modules:loss",
        optimizer="sgd",
        budget="memory=2GiB,train_time=1h",
        what_if="memory=4GiB,gpus=1",
    )
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    for word in (
        "toy_modules:deep on 2 x L4",
        "device memory",
        "2 GiB",
        "Parallelism: ",
        "Precision: ",
        "Checkpointing: ",
        "what else lost",
        "what if",
        "1 x L4",
    ):
        assert word in answer.out


def test_the_price_is_a_setting(plan):
    answer = plan("--json", "--set", "devices.L4.price_per_hour=0.8", objective="cost")
    assert answer.code == 0, answer.err
    cost = answer.json["value"]["predicted"]
    devices = answer.json["value"]["configuration"]["devices"]
    assert cost["price"] == pytest.approx(0.8 * cost["train_s"] / 3600 * devices)


def test_devices_are_a_setting_where_no_flag_names_them(plan):
    set_ = ("--set", "training.gpus=2xours", "--set", "devices.ours.like=L4")
    cluster = plan("--json", *set_, gpus=None).json["value"]["cluster"]
    assert (cluster["count"], cluster["device"]["name"]) == (2, "ours")
    assert plan("--json", *set_, gpus="T4").json["value"]["cluster"]["device"]["name"] == "T4"


@pytest.mark.parametrize(("asked", "said"), [("", "got ''"), ("0", "from 1 to 16"), ("-1xL4", "got '-1xL4'")])
def test_devices_that_are_none(plan, asked, said):
    answer = plan(gpus=asked)
    assert answer.code == 2
    assert said in answer.sentence


def test_what_if_is_the_plan_of_that_envelope(plan):
    both = plan("--json", what_if="gpus=1,memory=1GiB").json
    alone = plan("--json", gpus="1xL4", budget="memory=1GiB").json
    chosen, other = (p["value"] for p in (both["what_if"], alone))
    # but for the host, which has the cores of a machine of two
    for name in ("devices", "parallel", "micro_batch", "accumulation"):
        assert chosen["configuration"][name] == other["configuration"][name]
    assert chosen["limits"] == other["limits"]
    assert both["difference"].startswith("What if: ")


def test_evaluation_is_planned_apart(plan, abi, tmp_path):
    both = plan("--json", gpus="1xL4", module="toy_modules:deep", what_if="memory=700MiB").json
    roomy, tight = both["value"]["evaluation"], both["what_if"]["value"]["evaluation"]
    assert roomy["arithmetic"] == both["value"]["configuration"]["arithmetic"]
    assert roomy["rows_per_s"] == pytest.approx(roomy["batch"] / roomy["batch_s"])
    assert tight["memory_bytes"] <= tight["memory_bound"] <= 700 * 2**20
    for name, wanted in (("a", "22GiB"), ("b", "700MiB")):
        answer = plan("--json", gpus="1xL4", module="toy_modules:deep", budget=f"memory={wanted}")
        (tmp_path / f"{name}.json").write_text(answer.out)
    found = abi("diff", tmp_path / "a.json", tmp_path / "b.json", "--workspace", tmp_path / "ws", "--json").json
    assert set(found["evaluation"]) <= set(roomy)
    said = plan("--explain", "--no-color").out
    assert "memory in evaluation" in said
    assert "Evaluation: " in said


def test_what_a_module_prints_is_no_part_of_the_answer(command, tmp_path):
    flags = [word for pair in (ASKED | {"--module": "toy_modules:Loud"}).items() for word in pair]
    answer = command("plan", *flags, "--workspace", tmp_path / "ws", "--json", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert answer.code == 0, answer.err
    assert answer.json["kind"] == "ExecutionPlan"
    assert "called" in answer.err
    assert "built" in answer.err


def test_a_forward_pass_without_an_end_is_ended(plan, monkeypatch):
    monkeypatch.setattr("abi.execution.trace.TIME_LIMIT_S", 12.0)
    answer = plan("--json", module="toy_modules:Endless")
    assert answer.code == 2
    assert "Expected a module that is built and traced within 12 s, got no end: see whether it loops" in answer.sentence


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Crashes", r"got a crash of its process \(SIGSEGV\): run a step of it by hand"),
        ("Leaves", "got an end of its process with code 0: run"),
        ("EndlessInC", "got no end in 12 s: run"),
    ],
)
def test_a_module_takes_nothing_down_with_it(plan, monkeypatch, name, said):
    monkeypatch.setattr("abi.execution.apart.LIMIT_S", 12.0)
    monkeypatch.setattr("abi.execution.apart.alone", lambda: True)  # whatever threads other tests left
    answer = plan(module=f"toy_modules:{name}")
    assert answer.code == 2
    assert re.search(f"Expected toy_modules:{name} to be built and traced, {said}", answer.sentence)


def test_the_first_plan_is_printed_where_what_if_fits_nothing(plan):
    answer = plan("--json", what_if="memory=300MiB")
    assert answer.code == 5
    assert answer.json["id"] == plan("--json").json["id"]
    assert "what_if" not in answer.json
    assert answer.err.splitlines()[-1].startswith("abi: Expected one of ")


def test_nothing_fits(plan):
    answer = plan("--json", budget="memory=300MiB")
    assert answer.code == 5
    assert "within device memory 300 MiB, got none: the nearest that fit are memory=" in answer.sentence
    wider = answer.sentence.partition("are memory=")[2].split()[0]
    assert plan("--json", budget=f"memory={wider}").code == 0


def test_a_plan_is_measured_here_and_kept(plan, tmp_path):
    answer = plan("--measure", "--json", gpus="cpu", loss="toy_modules:loss", global_batch="64")
    assert answer.code == 0, answer.err
    value, measured = answer.json["value"], answer.json["measured"]
    taken, cost = measured["trial"]["resources"], value["predicted"]
    assert measured["ratios"]["memory"] == pytest.approx(taken["active_bytes"] / cost["memory_bytes"], rel=1e-5)
    assert measured["ratios"]["time"] == pytest.approx(taken["step_s"] / cost["compute_s"], rel=1e-5)
    assert taken["active_bytes"] <= cost["memory_bound"]
    again = plan("--measure", "--no-color", gpus="cpu", loss="toy_modules:loss", global_batch="64")
    assert again.code == 0, again.err
    assert max(map(len, again.out.splitlines())) <= 80
    for word in (
        "measured",
        "tensors",
        "the process",
        "one step, median",
        "tensors in evaluation",
        "rows evaluated per second",
        "Kept: 2 runs of toy_modules:mlp",
        "from 9 on",
    ):
        assert word in " ".join(again.out.split())
    assert len(list((tmp_path / "ws" / "residuals").rglob("*.json"))) == 2


def test_nine_runs_bound_the_next_plan(plan, tmp_path):
    before = plan("--json", gpus="cpu").json["value"]
    module, cost = ExecutionPlan.from_json(before), before["predicted"]
    ws = Workspace.open(tmp_path / "ws")
    for _ in range(9):
        keep_execution(ws, module, peak_bytes=2 * cost["memory_bytes"], step_s=5 * cost["compute_s"])
    after = plan("--json", gpus="cpu").json["value"]
    assert after["configuration"] == before["configuration"]
    assert after["predicted"]["memory_bound"] == pytest.approx(2 * cost["memory_bytes"], rel=1e-5)
    assert after["predicted"]["train_bound_s"] == pytest.approx(5 * cost["train_s"], rel=1e-5)
    assert any(reason.startswith("Bounds from runs: of 9 runs") for reason in after["reasons"])


def test_a_what_if_says_only_what_changes(plan):
    out = plan("--no-color", what_if="memory=4GiB", gpus="1xL4").out
    changes = out.partition("what if")[2].splitlines()
    assert [line.split("  ")[0].strip() for line in changes[1:] if line.strip()] == [
        "device memory, limit",
        "memory in evaluation, limit",
    ]
    assert "22 GiB" in changes[1]
    assert "4 GiB" in changes[1]
    more = plan("--no-color", what_if="gpus=1").out.partition("what if")[2]
    assert "2 x L4" in more
    assert "one step" not in more  # one device was chosen of the two
    grown = plan("--no-color", what_if="gpus=4").out
    assert re.search(r"Host memory is the machine's, counted as \S+ GiB for each of 4 devices", " ".join(grown.split()))
    assert "nothing changes" in plan("--no-color", what_if="gpus=2").out


def test_several_devices_that_are_not_here_are_named(plan):
    answer = plan("--measure", gpus="2xL4")
    assert answer.code == 2
    assert answer.sentence.startswith("abi: Expected 2xL4 in this machine to train on, got ")


def test_what_is_only_described_is_not_measured(plan):
    answer = plan("--measure", "--json", gpus="1xH200")
    assert answer.code == 2
    assert answer.sentence.startswith("abi: Expected 1xH200 in this machine to train on, got ")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gpus": "2xL5"}, "L4"),
        ({"gpus": "0xL4"}, "got '0xL4'"),
        ({"gpus": "3xL4"}, "Expected a global batch that 3 devices divide, got 256: take 255 or 258"),
        ({"gpus": "8xL4", "global_batch": "4"}, "Expected at most one device for each row"),
        ({"global_batch": "0"}, "Expected a global batch of at least 1, got 0: leave it out, or say how many."),
        ({"global_batch": "-4"}, "Expected a global batch of at least 1, got -4: "),
        ({"batch": None}, "Expected --batch"),
        ({"batch": "x=f32[128]"}, "Expected B once"),
        ({"steps": "0"}, "Expected a number of steps of at least 1, got 0: leave it out, or say how many."),
        (
            {"objective": "speed"},
            "Expected an objective of throughput, energy, cost, memory, got 'speed': name one of them.",
        ),
        ({"objective": "troughput"}, "got 'troughput': did you mean throughput?"),
        (
            {"what_if": "gpus=0"},
            "Expected gpus as a whole number above zero, got '0': write it as gpus=2, or leave it out.",
        ),
        ({"objective": "cost"}, "Expected a price per hour of L4"),
        ({"budget": "memory=8"}, "Expected a size such as 8GiB, got '8'"),
        ({"budget": "memory=0GiB"}, "above zero"),
        ({"budget": "memory=8GiB,memory=4GiB"}, "they contradict each other"),
        ({"budget": "mem=8GiB"}, "did you mean memory?"),
        ({"what_if": "gpu=2"}, "did you mean gpus?"),
        ({"what_if": "gpus=3"}, "Expected a global batch that 3 devices divide"),
        ({"module": "toy_modules:none"}, "Expected 'none' in module 'toy_modules'"),
        ({"optimizer": "lion"}, "got 'lion'"),
        ({"optimizer": "toy_modules:nothing"}, "Expected a torch.optim.Optimizer from the function of the parameters"),
        ({"module": "toy_modules:raising"}, "got RuntimeError: no weights here: call it by hand."),
        ({"module": "toy_modules:exits"}, "got SystemExit: 3: call it by hand."),
        ({"module": "toy_modules:needs"}, "missing 1 required positional argument: 'width'"),
        ({"module": "toy_modules:lazy"}, "got lazy ones in LazyLinear"),
        ({"module": "toy_modules:meta"}, "Expected a module on the processor, got tensors on meta"),
        ({"module": "toy_modules:Whole"}, "got a tensor of int64 without gradient"),
        ({"global_batch": "1.5"}, "Expected a whole number after --global-batch, got '1.5'"),
        ({"steps": "0x10"}, "Expected a whole number after --steps, got '0x10'"),
        ({"batch": "x=i8[B,128]<300"}, "Expected a bound that i8 of 'x' can hold, got <300"),
        ({"budget": "memory=99999TiB"}, "Expected a size of at most 256TiB, got '99999TiB'"),
        ({"module": None}, "Expected what `abi fit --json` printed, or --module package:factory, got neither"),
    ],
)
def test_bad_input_is_one_sentence(plan, changed, said):
    answer = plan("--json", **changed)
    assert answer.code == 2
    assert said in answer.sentence


def test_the_shortest_way_to_ask(plan):
    asked = plan("--json", gpus="1xL4", global_batch=None).json["value"]
    assert asked["job"]["global_batch"] == 256


def test_two_plans_side_by_side(plan, abi, tmp_path):
    one, other, attention = tmp_path / "one.json", tmp_path / "other.json", tmp_path / "snapshot.json"
    one.write_text(plan("--json").out)
    other.write_text(plan("--json", "--budget", "memory=9GiB", gpus="1xH200", global_batch="512").out)
    found = abi("diff", one, other, "--json").json
    assert found["subject"] == {"device": ["L4", "H200"], "may_use": [2, 1]}
    assert found["limits"] == {"memory_bytes": [None, 9 * 2**30]}
    assert found["job"] == {"global_batch": [256, 512]}
    assert found["configuration"]["micro_batch"][1] == 512
    assert found["predicted"][1]["memory_bytes"] > found["predicted"][0]["memory_bytes"]
    said = abi("diff", one, other).out
    assert "device L4 -> H200, may use 2 -> 1" in said
    assert re.search(r"Predicted: memory bound [\d.]+ [MG]iB -> [\d.]+ [MG]iB, step [\d.]+ ms", said)
    assert "the same plan" in abi("diff", one, one).out
    attention.write_text(json.dumps(document(Snapshot(files=()))))
    assert "Expected a value that holds Plan, got Snapshot" in abi("diff", one, attention).sentence


def test_a_file_and_a_module_at_once(plan, tmp_path):
    (tmp_path / "attention.json").write_text(json.dumps({}))
    refused = plan(tmp_path / "attention.json")
    assert "got both it and --module, --batch: leave one out" in refused.sentence


def test_the_api_is_where_the_planner_is():
    import abi.planning
    from abi.execution.plan import plan_module

    assert abi.planning.plan_module is plan_module
    with pytest.raises(AttributeError, match="no attribute 'plan_modul'"):
        abi.planning.plan_modul  # noqa: B018
