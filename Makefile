# Everything runs in .venv, which each target makes, and brings up to date, by itself.
# A different interpreter: make install PYTHON=python3.13

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Where Debian's package puts it.
LONGTAIL_CHROMIUM ?= /usr/bin/chromium

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test fuzz test-browser lint fmt bench dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed-report,explore ## the library, its command line and its figures
	@echo "Ready: $(BIN)/longtail --help"

demo: $(VENV)/.installed-report,explore ## fit, refine and inspect a model of real data; writes demo_output/
	@$(BIN)/longtail demo --out demo_output

test: lint ## every check, then the tests, in two processes of one thread each; the longest first
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.installed-dev ## the property tests on many new examples; what fails says how to repeat it
	@LONGTAIL_FUZZ=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m hypothesis

test-browser: $(VENV)/.installed-dev ## the explorer in Chromium, which is installed where apt can
	@command -v "$(LONGTAIL_CHROMIUM)" >/dev/null || { \
	  echo "Installing Chromium with apt-get."; \
	  apt-get update -qq && apt-get install -qq --no-install-recommends chromium; } \
	  || { echo "The browser tests need Chromium, and apt-get cannot install it here." \
	       "Install it, or name it with: make test-browser LONGTAIL_CHROMIUM=/path/to/chromium" >&2; \
	       exit 1; }
	@LONGTAIL_CHROMIUM="$(LONGTAIL_CHROMIUM)" $(BIN)/python -m pytest tests/browser

lint: $(VENV)/.installed-dev ## style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(VENV)/.installed-dev ## format the code and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-bench ## measure speed, and print its ratios (see benchmarks/README.md)
	@$(BIN)/python -m benchmarks speed

dist: $(VENV)/.installed-dev ## build the wheel and the source archive into dist/
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist .
	@$(BIN)/python -m zipfile --list dist/longtail-*.whl | grep longtail/py.typed >/dev/null

clean: ## remove .venv and everything that was made
	@rm -rf $(VENV) dist demo_output .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras; it is renewed when the dependencies change.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing longtail[$*] into $(VENV); the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null \
	  || { echo "longtail needs Python 3.11 or newer: '$(PYTHON)' was not found." \
	       "Name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "longtail needs Python 3.11 or newer: '$(PYTHON)' is $$($(PYTHON) --version)." \
	       "Name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
