# make demo | test | lint | docs | bench: each makes .venv first and installs what it needs from the package index.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint docs bench

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

# site/index.html is where to begin
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: .venv/installed-test
	$(BIN)/python benchmarks/bench.py

.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[test]'
	touch $@ .venv/installed

.venv/installed-docs: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[docs]'
	touch $@ .venv/installed
