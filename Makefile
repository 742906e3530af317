# Two commands: `make demo` and `make test`. Both make the environment on first use and install nothing after.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs
# Two files at a time, in the order of tests/conftest.py. No file is split, since its tests share what they made.
PYTEST ?= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# what this project needs at least; an older one would fail much later, and less clearly
RECENT := import sys; sys.version_info >= (3, 11) or sys.exit(f"edxdask needs Python 3.11 or newer, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")

.PHONY: demo test docs lint types check clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Distributions that split venv out of python3 still have pip: virtualenv from there does the same.
# A folder without a working pip is what an interrupted try leaves behind: it is made anew.
$(READY): pyproject.toml
	@$(PYTHON) -c '$(RECENT)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  { rm -rf $(VENV); $(PYTHON) -m venv $(VENV) >/dev/null 2>&1; } || \
	  { rm -rf $(VENV); $(PYTHON) -m pip install -qq --target $(VENV)-bootstrap virtualenv && \
	    PYTHONPATH=$(VENV)-bootstrap $(PYTHON) -m virtualenv -q $(VENV) && rm -rf $(VENV)-bootstrap; }
	@echo "installing into $(VENV) (once, a few minutes) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY) ## simulate a map, unmix it, write figures and a report to out/demo
	@$(BIN)/edxdask demo -o out/demo

test: $(READY) ## the quick tests; others with PYTEST_ADDOPTS="-m slow"
	@$(PYTEST)

$(DOCS_READY): $(READY)
	@echo "installing what builds the documentation into $(VENV) (once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[docs]'
	@touch $@

# -E: all pages are read again, as the search forgets words of pages that are not. Notebooks that did not change
# are not run again, nor are examples.
docs: $(DOCS_READY) ## the documentation site, in out/docs/html; runs notebooks and examples, warnings are errors
	@$(BIN)/python -m sphinx -q -E -W --keep-going -d out/docs/doctrees docs out/docs/html
	@echo "open out/docs/html/index.html"

lint: $(READY) ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY) ## mypy
	@$(BIN)/mypy

check: lint types test ## everything before a commit

clean: ## remove what these commands made
	rm -rf $(VENV) $(VENV)-* out docs/generated build .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
