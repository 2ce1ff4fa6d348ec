# Two commands do everything: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint docs bench wheel clean

demo: $(VENV)/.base
	$(BIN)/python examples/unrender/matte_ball.py --report out/report.html
	@echo "report: $(CURDIR)/out/report.html"

test: lint docs wheel
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q docs out/docs
	@echo "docs: $(CURDIR)/out/docs/index.html"

# BENCH="throw gmm --quick" chooses; see benchmarks/README.md.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.chart out/benchmarks.json out/benchmarks.png

# The wheel, installed in an environment of its own, outside the source tree, where only it can be imported.
wheel: $(VENV)/.test
	rm -rf out/wheel && mkdir -p out/wheel
	$(BIN)/python -m build --wheel --outdir out/wheel . >out/wheel/build.log 2>&1 || { cat out/wheel/build.log; exit 1; }
	tests/wheel.sh "$(PYTHON)" out/wheel/*.whl

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Clew needs Python 3.11 or later; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e ".[test,docs]"
	touch $@ $(VENV)/.base

$(VENV)/.docs: $(VENV)/.test
	touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e ".[bench]"
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) out
