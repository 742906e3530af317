# Two commands: `make demo` and `make test`. Both make the environment on first use and install nothing after.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST ?= $(BIN)/python -m pytest

.PHONY: demo test lint types check clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Distributions that split venv out of python3 still have pip: virtualenv from there does the same.
$(READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
	  { rm -rf $(VENV); $(PYTHON) -m pip install -q --target $(VENV)-bootstrap virtualenv && \
	    PYTHONPATH=$(VENV)-bootstrap $(PYTHON) -m virtualenv -q $(VENV) && rm -rf $(VENV)-bootstrap; }
	@echo "installing into $(VENV) (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY) ## simulate a map, look at it, write figures to out/demo
	@$(BIN)/edxdask demo -o out/demo --overwrite

test: $(READY) ## the quick tests
	@$(PYTEST)

lint: $(READY) ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY) ## mypy
	@$(BIN)/mypy

check: lint types test ## everything before a commit

clean: ## remove what these commands made
	rm -rf $(VENV) $(VENV)-bootstrap out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
