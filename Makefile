# Everything is set up by the first target that needs it. PYTHON and VENV may be given: make test VENV=/path
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint unit coverage bench bench-quick audit-card train-toon train-toon-robust clean

# Two processes with one thread each: threads that wait for each other are slower than one.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist worksteal

demo: $(VENV)/.run
	$(BIN)/innersight demo --out demo

test: lint unit

lint: $(VENV)/.test
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v npx >/dev/null; then npx --yes --package typescript@7 -- tsc -p src/innersight/web/jsconfig.json; \
	else echo "no node on this machine: the types of the front end are not checked"; fi

unit: $(VENV)/.test
	$(PYTEST)

coverage: $(VENV)/.test
	$(PYTEST) --cov=innersight --cov-branch

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

# A regression of what people wait for most is seen in a few minutes; the page of figures stays as it is.
bench-quick: $(VENV)/.test
	$(BIN)/python -m benchmarks --print start explain

# How many planted faults the audit finds, written into docs/audit.md; at most an hour on two cores.
audit-card: $(VENV)/.bench
	$(BIN)/python -m benchmarks.audit_card

# The embedded network, from nothing; see the model card in src/innersight/toons/run.
train-toon: $(VENV)/.test
	$(BIN)/innersight toons build/toons --per-class 300 --seed 0
	$(BIN)/innersight train build/toons --out build/toon --net small:32 --size 96 --epochs 8 --half

# The one that learned shapes, `toon:robust`; see the model card in src/innersight/toons/robust.
train-toon-robust: $(VENV)/.test
	$(BIN)/innersight toons build/shuffled --per-class 400 --seed 0 --colours shuffled
	$(BIN)/innersight train build/shuffled --out build/plain --net small:32 --size 96 --epochs 8 --half
	$(BIN)/innersight train build/shuffled --out build/robust-1.5 --net run:build/plain --size 96 --epochs 4 --robust 1.5 --half
	$(BIN)/innersight train build/shuffled --out build/robust --net run:build/robust-1.5 --size 96 --epochs 5 --robust 3 --half

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.bench: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
