# Needs python3 (with venv) and make; everything is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES := $(shell find src pyproject.toml setup.py -name '*.py' -o -name '*.pyx' -o -name '*.toml')

.PHONY: demo test lint docs man bench clean

demo: $(VENV)/.cli
	$(BIN)/aiomcast demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" pyright --verifytypes aiomcast --ignoreexternal >$(VENV)/types.log || \
		{ cat $(VENV)/types.log; exit 1; }
	PYTHONPATH=src $(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs
	@echo "build/docs/index.html"

man: $(VENV)/.cli
	$(BIN)/python docs/manual.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks drain

# What an extra needs, and the package as it is now.
$(VENV)/.%: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[$*]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist
