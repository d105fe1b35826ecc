"""How often drift is seen where there is none, and how often where there is: batches of 50, 500 and 5,000 rows.

    python benchmarks/drift.py [--batches 200] [--seed 0]

The table is made up: numbers (normal, long-tailed, mostly zero, with gaps), a category of 400 values, one of five, a yes or
no, a text, and a target that hangs on two of them. The reference is of 20,000 rows; every batch is drawn anew from the same
source, or (a quarter as many) from one that was moved. A normal column that moves by half a deviation has an index of 0.25,
the limit itself, so about half of those batches should raise the alarm. Prints the share of batches with an alarm, by what raised it, and the seconds of one
look; writes dated JSON into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from results_file import write_results

from abi.config import Config, load_config
from abi.data.memory import read_memory
from abi.data.reader import Reader
from abi.monitored import Reference
from abi.monitoring.attention import attention_drift
from abi.monitoring.drift import attention_level, data_level, judge
from abi.monitoring.reference import describe_all
from abi.monitoring.tally import columns_of, tally
from abi.problem import Split
from abi.scoring.score import score
from abi.training.data_attention import data_weights

REFERENCE_ROWS = 20_000
SIZES = (50, 500, 5_000)
TEMPERATURE, FLOOR, CAP = 0.4, 0.025, 0.5
ATTENTION_BATCHES = 0.2
"""Attention is looked at in this share of the batches (at least ten), since a look may score twenty more."""
KINDS = {"note": "text"}
Table = pd.DataFrame


def draw(random: np.random.Generator, rows: int, driver: str = "normal") -> Table:
    """Rows of the source; the target hangs on `driver` and on a category."""
    zipf = 1 / np.arange(1, 401)
    words = random.choice(400, (rows, 6), p=zipf / zipf.sum())
    table = pd.DataFrame(
        {
            "normal": random.normal(size=rows),
            "steps": random.integers(0, 5, rows).astype(float),
            "tail": random.lognormal(sigma=1.5, size=rows),
            "zeros": np.where(random.random(rows) < 0.9, 0.0, random.exponential(size=rows)),
            "gaps": np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows)),
            "many": np.char.add("v", random.choice(400, rows, p=zipf / zipf.sum()).astype(str)),
            "few": random.choice(["a", "b", "c", "d", "e"], rows, p=[0.5, 0.2, 0.15, 0.1, 0.05]),
            "flag": random.random(rows) < 0.3,
            "note": [" ".join(f"w{i}" for i in row) for row in words],
        }
    )
    strength = 2 * table[driver] + (table["few"] == "a") - 0.5
    table["y"] = np.where(strength + random.logistic(size=rows) > 0, "yes", "no")
    return table


def moved(name: str, by: Callable[[np.random.Generator, Any], Any]) -> Callable[[np.random.Generator, int], Table]:
    """A source of which one column is changed."""

    def make(random: np.random.Generator, rows: int) -> Table:
        table = draw(random, rows)
        table[name] = by(random, table[name])
        return table

    return make


def some(share: float, value: object) -> Callable[[np.random.Generator, Any], Any]:
    """A share of the values becomes another."""
    return lambda random, column: column.mask(random.random(len(column)) < share, value)


SOURCES: dict[str, Callable[[np.random.Generator, int], Table]] = {
    "no drift": draw,
    "a number moves by half a deviation": moved("normal", lambda _, column: column + 0.5),
    "a number moves by one deviation": moved("normal", lambda _, column: column + 1),
    "30% of a column go missing": moved("tail", some(0.3, np.nan)),
    "30% have a value never seen": moved("few", some(0.3, "new")),
    "30% more of one category": moved("few", some(0.3, "e")),
    "half of the texts have other words": moved("note", some(0.5, "other words than these ones here")),
    "the target hangs on another column": lambda random, rows: draw(random, rows, "steps"),
}


def refer(reader: Reader, config: Config) -> Reference:
    """The reference without predictions: there is no model here."""
    scores = score(reader, config.scoring)
    train = reader.load("train")
    return Reference(
        problem=reader.problem.id,
        snapshot="",
        artifact="",
        rows=len(train),
        features=describe_all(reader.problem.schema, train),
        prediction=None,
        weights=data_weights(scores, TEMPERATURE, FLOOR, CAP, None),
        temperature=TEMPERATURE,
        floor=FLOOR,
        cap=CAP,
        scoring=config.scoring.model_dump(mode="json"),
    )


def look(reference: Reference, training: Reader, table: Table, config: Config, attention: bool) -> dict[str, bool]:
    """What one look raises an alarm for."""
    schema = training.problem.schema
    batch = read_memory(table, "y", config)
    new = replace(batch, problem=replace(batch.problem, schema=schema, split=Split(seed=0, validation=0.0, test=0.0)))
    columns = new.load("train")
    pairs = zip(reference.features, columns_of(columns, schema.features), strict=True)
    counts = [tally(known, column) for known, column in pairs]
    features = judge(reference.features, counts, reference.weights, config.monitor)
    found = {"data": data_level(features, config.monitor) > 1}
    if attention:
        found["attention"] = (
            attention_level(attention_drift(reference, new, lambda: training, config.monitor), config.monitor) > 1
        )
    return found


def measure(batches: int, seed: int) -> list[dict[str, Any]]:
    """The shares for each source and size."""
    config = load_config(settings={"data.test": 0.0, "data.columns": KINDS}, ambient=False)
    training = read_memory(draw(np.random.default_rng(seed), REFERENCE_ROWS), "y", config)
    reference = refer(training, config)
    figures = []
    for name, source in SOURCES.items():
        number = batches if source is draw else max(10, batches // 4)
        for rows in SIZES:
            random = np.random.default_rng([seed, rows])
            looks = [(i, source(random, rows)) for i in range(number)]
            start = time.perf_counter()
            with_attention = max(10, int(number * ATTENTION_BATCHES))
            found = [look(reference, training, table, config, i < with_attention) for i, table in looks]
            figures.append(
                {
                    "source": name,
                    "rows": rows,
                    "batches": number,
                    "data_alarm": float(np.mean([one["data"] for one in found])),
                    "attention_batches": with_attention,
                    "attention_alarm": float(np.mean([one["attention"] for one in found[:with_attention]])),
                    "seconds_per_look": round((time.perf_counter() - start) / number, 3),
                }
            )
            print(_line(figures[-1]))
    return figures


def _line(figure: dict[str, Any]) -> str:
    return f"{figure['source']:36} {figure['rows']:6} rows: data {figure['data_alarm']:6.1%}, attention {figure['attention_alarm']:6.1%}, {figure['seconds_per_look']} s"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    figures = measure(asked.batches, asked.seed)
    print(write_results("drift", {"seed": asked.seed, "shares": figures}))


if __name__ == "__main__":
    main()
