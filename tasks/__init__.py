"""Tasks: one file per stage, the only place of I/O; exactly one file each speaks to MLflow, DVC and Great Expectations.

Importing this package sets what libraries read from the environment when they are first imported: telemetry off, and
processor threads that sleep while they wait. Threads that spin make training up to twenty times slower as soon as anything
else runs on the same cores, as Prefect's server does.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
