# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
QUIET := 2> >(grep -v "find-links\|Location 'file" >&2)

.PHONY: help demo browser test test-fast test-slow lint types format clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/base.stamp: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (torch, numpy, gymnasium ...)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0 --editable . $(QUIET)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "adding what tests, lint and types need"
	@$(PIP) torch==2.13.0 --editable '.[dev,ogbench,pusht]' $(QUIET)
	@touch $@

demo: $(VENV)/base.stamp ## collect, train, watch an agent reach goals, and write a report
	@$(BIN)/forethought demo

browser: # for the test that opens a report; where it cannot be installed that test is skipped, and says so
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo "installing chromium (to open a report in)" && apt-get -qq update \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends --yes chromium >/dev/null; } \
	  || echo "no chromium, and no right to install it: the browser test will be skipped (apt-get install chromium)"

test: $(VENV)/dev.stamp browser lint types ## lint, types, and every test but the slow ones, with coverage
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE)

COVERAGE ?= 90

test-fast: $(VENV)/dev.stamp ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow and not lane"

test-slow: $(VENV)/dev.stamp ## the proofs that take minutes
	@$(BIN)/python -m pytest -m slow

lint: $(VENV)/dev.stamp ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy --strict
	@$(BIN)/mypy

format: $(VENV)/dev.stamp ## put the code into the house's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
