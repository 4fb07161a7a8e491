# Every chore in one place. A fresh machine needs Python 3.11+, nothing else: the first target that runs makes .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: venv demo test test-all lint docs perf clean

venv: $(STAMP)

$(STAMP): pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch torchvision
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/zoomgap demo

test: $(STAMP)
	$(BIN)/pytest

test-all: $(STAMP)
	$(BIN)/pytest -m ''

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python tests/make_docs.py

perf: $(STAMP)
	$(BIN)/python perf/agent_overhead.py
	$(BIN)/python perf/endpoint.py
	$(BIN)/python perf/bench_import.py
	$(BIN)/python perf/large_images.py
	$(BIN)/python perf/grading.py
	$(BIN)/python perf/compare.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
