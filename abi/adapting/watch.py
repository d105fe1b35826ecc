"""Looking for drift along a stream: in the models' errors, in the columns, and in the attention that new rows ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int64

from abi.adapted import Cause
from abi.adapting.adwin import Adwin
from abi.adapting.stream import Stream
from abi.monitored import Reference
from abi.monitoring.attention import attention_drift
from abi.monitoring.drift import attention_level, data_level, judge
from abi.monitoring.reference import refer
from abi.monitoring.tally import columns_of, tally
from abi.problem import Schema
from abi.types import Attention

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

SQUARES: Final = 4.0
"""A squared error of so many variances of the target counts as 1."""
SHOWN: Final = 3


@dataclass(frozen=True)
class Found:
    """What one look found."""

    causes: tuple[Cause, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass
class Watch:
    """What new rows are held against: the rows that attention was fitted on, and the errors since.

    Attributes:
        rows: those rows.
        reference: their distributions, and the attention that their scores ask for.
        errors: detector of the blend's errors.
    """

    rows: Int64[np.ndarray, " rows"]
    reference: Reference
    errors: Adwin

    @classmethod
    def begin(cls, rows: Int64[np.ndarray, " rows"], columns: Columns, attention: Attention, config: Config) -> Watch:
        """From the rows that attention was just fitted on."""
        problem = attention.scores.problem
        classes = len(problem.schema.classes)
        none = np.zeros((0, classes) if classes else (0,))
        reference = refer(problem, columns.take(rows), none, attention, "", config)
        return cls(rows, reference, Adwin(config.adapt.drift))

    def look(
        self, stream: Stream, schema: Schema, columns: Columns, rows: Int64[np.ndarray, " rows"],
        attention: Attention, config: Config,
    ) -> Found:  # fmt: skip
        """Hold the latest labelled rows against the reference, by the limits of the section `monitor`.

        Args:
            stream: of the rows.
            schema: of the models.
            columns: all rows.
            rows: the latest.
            attention: the weights in use.
            config: `monitor`.
        """
        limits, weights = config.monitor, [w.weight for w in attention.weights]
        causes, reasons = list[Cause](), list[str]()
        recent = columns.take(rows)
        # columns that were derived follow from these and from labels, and are alike from row to row
        own = [i for i, f in enumerate(schema.features) if f.column not in stream.kinds]
        every = columns_of(recent, schema.features)
        tallies = [tally(self.reference.features[i], every[i]) for i in own]
        drifted = judge([self.reference.features[i] for i in own], tallies, [weights[i] for i in own], limits)
        level = data_level(drifted, limits)
        if level >= 1:
            moved = sorted((f for f in drifted if f.drifted), key=lambda f: -f.psi)[:SHOWN]
            causes.append("data")
            reasons.append(f"data: {', '.join(f'{f.feature} (PSI {f.psi:.2f})' for f in moved)}")
        taught = rows if stream.numeric else rows[_taught(stream, schema)[rows]]
        if len(taught) >= limits.rows:
            found = attention_drift(
                self.reference,
                stream.reader(taught, schema, config.seed),
                lambda: stream.reader(self.rows, schema, config.seed),
                limits,
            )
            if attention_level(found, limits) >= 1:
                causes.append("attention")
                reasons.append(
                    f"attention: {found.distance:.2f} away (Jensen-Shannon), chance stays below {found.band:.2f}"
                )
        return Found(tuple(causes), tuple(reasons))


def _taught(stream: Stream, schema: Schema) -> np.ndarray:
    """Rows whose class the schema knows."""
    places = [place for place in stream.places(schema) if place < len(stream.classes)]
    return np.isin(stream.codes, places)
