"""Shapes that the terms of a score share.

A *view* is a set of rows: view 0 has all, view g all but those of group g; each term gives one number per view.
Features whose tables have the same shape are worked out together, along leading axes (`*features`; none is one feature).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int32

Views: TypeAlias = Float64[np.ndarray, " views"]
Tables: TypeAlias = Float64[np.ndarray, "views bins classes"]
ManyViews: TypeAlias = Float64[np.ndarray, "*features views"]
ManyTables: TypeAlias = Float64[np.ndarray, "*features views bins classes"]
Grouped: TypeAlias = Int32[np.ndarray, "*features bins groups classes"]
Coordinates: TypeAlias = Float64[np.ndarray, "classes axes"]
