# make demo | test | lint | bench: each makes .venv first and installs what it needs from the package index.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench

demo: .venv/installed
	$(BIN)/hardy demo

# SLOW=1 adds the tests marked slow; $HARDY_DATA is where those marked data find real images
test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto $(if $(SLOW),,-m "not slow")

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py

bench: .venv/installed-test
	$(BIN)/python benchmarks/step.py --compile

.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[test]'
	touch $@ .venv/installed
