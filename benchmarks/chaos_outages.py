"""A server that is away for a while, at the start of a run and in its middle: the run completes, and says what happened."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from chaos_inspect import inspect, survey
from chaos_kill import READY, Trial, kept_stages
from chaos_servers import Server, mlflow_server, prefect_server
from chaos_trace import crossed, started
from chaos_world import World

HERE = Path(__file__).parent
RUN = "import sys; from pathlib import Path; from chaos_trace import Trace; import tasks; Trace(Path(sys.argv.pop(1))).install(); from flows.cli import main; main()"
BEYOND_S = 150.0
"""A run may take so much longer than the outage and an undisturbed run together."""
LIMIT_S = 900.0
TOLD = re.compile(r"^(waiting|prefect) .*", re.MULTILINE)
"""What a run says of a server that is away."""
FEW_S = 10.0
"""An outage of the short form: how long an undisturbed run takes is not measured for it."""


def outages(world: World, seconds: int | None, _: int) -> list[Trial]:
    """MLflow and Prefect, each away from the start and from the middle on, for so many seconds; a few take one of each."""
    away_s = float(seconds or 0)
    trials = []
    for make, name, short in ((mlflow_server, "MLflow", "in the middle"), (prefect_server, "Prefect", "at the start")):
        calm_s = 0.0 if away_s > FEW_S else LIMIT_S
        for when in ("never", "at the start", "in the middle") if away_s > FEW_S else (short,):
            trial = _away(world, make(world.root / f"{name}-{when.split()[-1]}"), name, when, away_s, calm_s)
            calm_s = calm_s or trial.seconds
            trials.append(trial)
    return trials


def _away(world: World, server: Server, name: str, when: str, away_s: float, calm_s: float) -> Trial:
    """Run in a process of its own; the server goes when the run is there, and comes back on the same port."""
    world.reset(READY)
    if name == "MLflow":  # a server that has no version yet, and a ledger that knows of none
        for path in world.workspace.glob("ledger.db*"):
            path.unlink()
        shutil.rmtree(world.workspace / "ledger-checkpoints")
        (world.workspace / "keys" / "ledger.pub.pem").unlink()
    server.start()
    away: list[float] = []
    missed = threading.Event()
    back = threading.Thread(target=_come_back, args=(server, away_s, away, missed))
    start = time.monotonic()
    try:
        if when == "at the start":
            server.kill()
            back.start()
        process = _start(world, server, name)
        lines = _listen(process, missed, at_once=name == "MLflow" or when != "at the start")
        if when == "in the middle":
            _wait_for_middle(world, process)
            server.kill()
            back.start()
        try:
            process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        said = lines()
        took = time.monotonic() - start
        if back.ident is not None:
            back.join()
        problems = _problems(world, server, name, process.returncode, said)
        if away and took > away[0] + calm_s + BEYOND_S:
            problems.append(f"it took {took:.0f} s, {calm_s:.0f} s without an outage of {away[0]:.0f} s")
        told = TOLD.search(said)
        if when == "at the start" and name == "Prefect" and told is None:
            problems.append(f"no line says what happened: {said[-600:]}")
    finally:
        server.kill()
    length = f" for {away[0]:.0f} s" if away else ""
    where = f"{name} away {when}{length}: done after {took:.0f} s; {told.group()[:120] if told else 'nothing had to be said'}"
    return Trial(where, when != "never", problems, round(took, 1))


def _listen(process: subprocess.Popen[str], missed: threading.Event, *, at_once: bool) -> Callable[[], str]:
    """Read what it says as it says it, and set `missed` when it told of an outage, ended, or is not asked to tell.

    Returns:
        Waits for its end and gives all of it.
    """
    said: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if TOLD.match(line):
                missed.set()
        missed.set()

    if at_once:
        missed.set()
    reader = threading.Thread(target=read)
    reader.start()

    def all_of_it() -> str:
        process.wait()
        reader.join()
        return "".join(said)

    return all_of_it


def _come_back(server: Server, away_s: float, away: list[float], missed: threading.Event) -> None:
    """Start it again, and tell how long it was away: its start takes a while too.

    A busy machine may need longer than `away_s` to look for it at all: it stays away until it was `missed`.
    """
    start = time.monotonic()
    time.sleep(away_s)
    missed.wait(LIMIT_S)
    server.start()
    away.append(time.monotonic() - start)


def in_flow(world: World, count: int, seed: int) -> list[Trial]:
    """Kill runs under a real Prefect flow at so many random moments, and run them again."""
    draw = random.Random(seed)
    server = prefect_server(world.root / "flows").start()
    try:
        world.reset(READY)
        start = time.monotonic()
        assert _start(world, server, "Prefect").wait(LIMIT_S) == 0
        calm_s, artifact = time.monotonic() - start, survey(world)["artifact"]
        trials = [_killed_flow(world, server, draw.random() * calm_s, artifact) for _ in range(count)]
    finally:
        server.kill()
    return trials


def _killed_flow(world: World, server: Server, after_s: float, artifact: str) -> Trial:
    world.reset(READY)
    start = time.monotonic()
    process = _start(world, server, "Prefect")
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    killed = process.wait() != 0
    process.communicate()
    kept = kept_stages(world)
    world.trace.unlink(missing_ok=True)
    again = _start(world, server, "Prefect")
    _, said = again.communicate(timeout=LIMIT_S)
    repeated = kept & set(started(world.trace))
    problems = [f"finished stage {key.partition('-')[0]} was run again" for key in sorted(repeated)]
    problems += [] if again.returncode == 0 else [f"expected exit code 0, got {again.returncode}: {said[-600:]}"]
    problems += inspect(world, {"versions": 2, "entered": [1, 2], "artifact": artifact})
    return Trial(f"flow after {after_s:.2f} s", killed, problems, round(time.monotonic() - start, 1))


def _start(world: World, server: Server, name: str) -> subprocess.Popen[str]:
    words = world.run_words(1)
    words += ["--set", f"tracking.uri={server.url}"] if name == "MLflow" else []
    words += ["--set", "tracking.patience=300"]
    environment = {"PREFECT_API_URL": f"{server.url}/api"} if name == "Prefect" else {}
    place = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), "PREFECT_HOME": str(world.root / "home")}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(world.trace), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment, **place},
    )


def _wait_for_middle(world: World, process: subprocess.Popen[str]) -> None:
    """Until training begins."""
    while process.poll() is None and not any(key.startswith("train-") for key in started(world.trace)):
        time.sleep(0.02)


def _problems(world: World, server: Server, name: str, code: int, said: str) -> list[str]:
    if code:
        return [f"expected exit code 0, got {code}: {said[-900:]}"]
    assert crossed(world.trace)
    if name == "Prefect":
        return inspect(world, {"versions": 2, "entered": [1, 2]})
    return inspect(world, {"versions": 1, "entered": [1]}, server.url, server.folder / "mlflow.db")
