"""Tasks: one file per stage, the only place of I/O; exactly one file each speaks to MLflow, DVC and Great Expectations.

Importing this package sets what libraries read from the environment when they are first imported: telemetry off, and
how processor threads wait for one another (`abi.waiting`). And this machine's own addresses are asked directly where there
is a proxy: it would look for them on its own machine, while our servers and their clients are on this one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from abi.waiting import waiting

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def beside_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """What names this machine's own addresses as those that no proxy is asked for; nothing where there is no proxy."""
    known = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy")}
    known |= {name: value for name, value in environment.items() if name in known}  # in lower case it counts
    named = [host.strip() for host in known.pop("no_proxy", "").split(",") if host.strip()]
    if not any(known.values()) or "*" in named:
        return {}
    direct = ",".join([*named, *(host for host in LOOPBACK if host not in named)])
    return {"NO_PROXY": direct, "no_proxy": direct}


for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
os.environ.update(waiting(os.environ))
os.environ.update(beside_proxy(os.environ))
