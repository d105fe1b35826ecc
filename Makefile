# Two commands: `make run` and `make test`. Each makes .venv where it is not there yet.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

.PHONY: run test check format lint types imports chaos bench-balance bench-balance-full bench-planner clean

run: $(VENV)/installed
	$(BIN)/abi demo

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# types are checked beside the tests; either that fails fails the whole
check: format lint imports
	$(MAKE) --jobs=2 types test

format: $(VENV)/installed
	$(BIN)/ruff format --check .

lint: $(VENV)/installed
	$(BIN)/ruff check .

types: $(VENV)/installed
	$(BIN)/mypy

imports: $(VENV)/installed
	$(BIN)/lint-imports

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# the claim: capacity that follows attention against the same capacity split evenly; under 15 minutes on two cores
bench-balance: $(VENV)/installed
	$(BIN)/python benchmarks/balance.py

# all sets, all arms at all budgets, ten seeds: overnight
bench-balance-full: $(VENV)/installed
	$(BIN)/python benchmarks/balance.py --full

# what the planner predicts against what happens on the device that is here; says what was not measured
bench-planner: $(VENV)/installed
	$(BIN)/python benchmarks/planner.py all

# what survives SIGKILL anywhere, lost replies, servers that go and full disks; the short form is part of the tests
chaos: $(VENV)/installed
	PYTHONPATH=. $(BIN)/python benchmarks/chaos.py
	PYTHONPATH=. $(BIN)/python benchmarks/chaos_ledger.py --long

clean:
	rm -rf $(VENV) .abi
