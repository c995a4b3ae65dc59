# make demo | demo-full | test | test-faults | check | bases | data
# Each sets up .venv first if it is missing or its pins have changed; nothing else is needed but
# Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.keepgain-installed
PACKAGES := core trainers cluster analysis sweeps
# Torch with one thread a process: two were 4 to 10 times slower when trials run side by side.
export OMP_NUM_THREADS = 1

.PHONY: setup demo demo-full test test-faults check types bases data clean

setup: $(STAMP) .types/keepgain

# Torch first and by its exact version, so that nothing else draws in another build of it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# For type checkers and editors only: they do not read setuptools' package-dir.
.types/keepgain:
	mkdir -p .types && ln -sfn .. .types/keepgain

demo: setup
	$(BIN)/sweep run examples/quickstart/sweep.yaml --profile smoke
	$(BIN)/analyze last

demo-full: setup
	$(BIN)/sweep run examples/quickstart/sweep.yaml
	$(BIN)/analyze last

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not processes'

# First the faults within few processes, two at a time; then, one at a time, clusters and servers
# that are killed; docs/testing.md says how long.
test-faults: setup
	failed=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	    -m 'fault and not processes' --fault-results || failed=1; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	    -m processes --fault-results --durations 30 || failed=1; \
	exit $$failed

check: setup types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/test_imports.py

types: setup
	$(BIN)/mypy $(foreach p,$(PACKAGES),-p keepgain.$(p))

bases: setup
	$(BIN)/python examples/tiny_world/make.py bases --out examples/quickstart/bases

data: setup
	$(BIN)/python examples/tiny_world/make.py data --out examples/quickstart/data

clean:
	rm -rf $(VENV) .types .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
