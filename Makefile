# Every target works from a fresh clone: .venv is made and kept up to date by the rules at the end.
PYTHON ?= python3
BIN := .venv/bin
# The tests of a file run in one process, each process with a database server of its own.
TEST_PROCESSES ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check
.PHONY: demo test test-long lint format bench docs pictures conformance wheel clean

# From nothing to mapped terms, on a database and a model that need no setting up.
demo: .venv/demo.stamp
	$(BIN)/omop-emb demo

# The whole suite against a real PostgreSQL, in minutes. Servers, browsers and killed processes share the machine,
# so what failed runs once more, alone: a test that passes only then is named, and is a fault to mend.
test: .venv/dev.stamp
	$(BIN)/python -m pytest -m "not long" -n $(TEST_PROCESSES) --dist loadfile || { \
		printf '\nOnce more, alone, those that failed:\n'; \
		$(BIN)/python -m pytest -m "not long" --verbose --last-failed --last-failed-no-failures none; }

# The same with the matrices and chaos runs in full length.
test-long: .venv/dev.stamp
	$(BIN)/python -m pytest

# Format, rules and types of the code; links of the pages; the English of pages, messages and help.
lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/docs/test_pages.py tests/docs/test_prose.py

format: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Ratios against numpy, faiss, hnswlib and raw COPY, on the same data in the same run.
bench: .venv/bench.stamp
	set -e; for script in benchmarks/bench_*.py; do \
		$(BIN)/python $$script --json build/bench/$$(basename $$script .py).json; done

# Write the reference pages and sql/schema.sql from the code, check every page and run its examples (one test builds
# the site, too), then build the site: open build/site/index.html. It needs no network.
docs: .venv/dev.stamp
	$(BIN)/python tests/docs/reference.py
	PYTHONPATH=. $(BIN)/python tests/docs/schema.py
	$(BIN)/python -m pytest tests/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -c docs . build/site

# HL7's OMOP tests against omop-emb serve; FRAGMENT is a folder that has their vocabulary/ and tests/.
conformance: .venv/dev.stamp
	PYTHONPATH=. $(BIN)/python -m tests.conformance.hl7_omop "$(FRAGMENT)"

# The pictures in the docs and the outputs of the notebooks, made by the tests that show them.
pictures: .venv/dev.stamp
	$(BIN)/python -m pytest tests/browser tests/docs/test_notebooks.py tests/docs/test_recordings.py tests/docs/test_diagrams.py \
		--pictures docs/images

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

# sssom-py checks exports; it has 60 packages of its own, among them a plugin of pytest's, and gets its own place.
.venv/sssom.stamp: | .venv/bin/python
	$(PYTHON) -m venv .venv/sssom
	.venv/sssom/bin/python -m pip --disable-pip-version-check install --quiet 'sssom>=0.4.20,<0.5'
	@touch $@

# PyTorch has 200 MB and more: whoever works on `omop-emb tune` installs it, and tests of it are skipped without.
.venv/train.stamp: .venv/dev.stamp
	$(PIP) install --quiet --editable '.[train]'
	@touch $@
