# `make` lists the targets. Everything happens inside the checkout: .venv, var/, caches.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.setup-done
CORE   := ofcd/themis/core/libthemis.wasm
WEB    := web/node_modules/.package-lock.json
CONFIG ?= config.example.toml
ARGS   ?=
SHOTS  ?= var/screenshots
STORM  ?= 600
T      ?= tests
# Test processes at once; pytest's own way of one, with `-x` or `--pdb` for instance: JOBS=0.
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
HAS_PY  = $(shell find $(1) -name '*.py' -print -quit)
SOURCE  = $(foreach d,$(wildcard ofcd bots bridge migrations tests benchmarks tools),$\
	$(if $(call HAS_PY,$(d)),$(d)))

# Locks come from the public index alone: the machine's own pip settings must not leak into them.
# --allow-unsafe pins pip and setuptools too (pip-tools needs them): --require-hashes wants all.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" PIP_CONFIG_FILE=/dev/null \
	env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL $(BIN)/pip-compile --quiet --generate-hashes \
	--strip-extras --allow-unsafe --no-annotate --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-emit-options

.PHONY: help setup core web web-lint web-build run test test-fast coverage check fmt fmt-check lint types laws lock \
	example bench bench-page screenshots soak soak-bridges soak-irc soak-mail mutation vectors reference wheel clean distclean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY) core web ## install everything: .venv, the embedded Themis core, web/node_modules

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ofcd needs Python 3.11 or later: make setup PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' \
		|| { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Every package by its hash, the build backend among them, so nothing is fetched unchecked. The lock
# is whole, so pip need not look for more (and, asked to, refuses a pin whose extra it strips as
# soon as a newer release is out).
$(READY): requirements-dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@

core: $(CORE) ## fetch and build the embedded Themis core (WebAssembly)

$(CORE): tools/fetch_core.py $(wildcard web/package-lock.json) | $(READY)
	$(BIN)/python tools/fetch_core.py
	@test -f $@ && touch $@

web-lint: setup ## check the TypeScript in web/ (format, lint, types)
	@if [ -d web/node_modules ]; then npm --prefix web run --silent lint; \
	else echo "npm is not installed: web/ is not checked"; fi

# npm writes this file last. Without npm, tests against Node are skipped, and say so.
web: $(WEB)

$(WEB): web/package-lock.json
	@if command -v npm >/dev/null; then \
		echo "npm ci in web/ ..." && cd web && \
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && \
		touch node_modules/.package-lock.json; \
	else echo "npm is not installed: web/node_modules is not made, tests against Node are skipped"; fi

PAGE := web/dist/index.html

web-build: $(PAGE) ## build the browser client into web/dist, which ofcd serves

$(PAGE): $(WEB) web/index.html web/check.html web/vite.config.ts web/seal.ts web/tsconfig.json $(shell find web/src web/public -type f 2>/dev/null)
	@if [ -d web/node_modules ]; then \
		out=$$(npm --prefix web run --silent build 2>&1) || { echo "$$out"; exit 1; }; \
	else echo "npm is not installed: the browser client is not built"; fi

run: setup web-build ## start a relay with config.example.toml (another: CONFIG=FILE)
	$(BIN)/ofcd --config $(CONFIG)

test: setup web-build ## run all tests (some: T=tests/protocol ARGS="-k codec")
	@$(BIN)/python -m pytest $(T) -n $(JOBS) --dist worksteal $(ARGS)
	@if [ "$(T)" = tests ] && [ -d web/node_modules ]; then \
		PYTHON=$(CURDIR)/$(BIN)/python npm --prefix web run --silent test; fi

test-fast: setup ## run the tests that are neither slow nor live
	@$(BIN)/python -m pytest $(T) -m "not slow and not live" $(ARGS)

coverage: setup ## run all tests and report the lines and branches they miss
	@$(BIN)/python -m pytest $(T) --cov --cov-report=term $(ARGS)

check: fmt-check lint types laws web-lint test ## everything CI checks: format, lint, types, laws, tests

fmt: $(READY) ## format the code and mend what lint can mend
	@$(BIN)/ruff check --fix-only --quiet $(SOURCE)
	@$(BIN)/ruff format $(SOURCE)
	@if [ -d web/node_modules ]; then npm --prefix web run --silent fmt; fi

fmt-check: $(READY)
	@$(BIN)/ruff format --check $(SOURCE)

lint: $(READY) ## look for mistakes (ruff)
	@$(BIN)/ruff check $(SOURCE)

types: $(READY) ## check the types (mypy, strict)
	@$(BIN)/mypy $(SOURCE)

laws: $(READY) ## check the laws of imports (import-linter)
	@$(BIN)/lint-imports --no-logo

lock: $(BIN)/python ## pin all dependencies anew (newer ones: ARGS=--upgrade)
	@$(BIN)/python -c 'import piptools' 2>/dev/null || $(BIN)/python -m pip install -qq pip-tools
	$(COMPILE) $(ARGS) --output-file requirements.txt pyproject.toml
	$(COMPILE) $(ARGS) --extra web --extra bridges --extra dev --constraint requirements.txt \
		--output-file requirements-dev.txt pyproject.toml
	@! grep -nE '://|^-|file:/|[[:space:]]/' requirements.txt requirements-dev.txt \
		|| { echo "a lock names an index, an option or a path: remove it from pip's settings"; exit 1; }

example: $(READY) ## write config.example.toml anew from the settings
	@$(BIN)/python -m ofcd.config --example > config.example.toml.new
	@mv config.example.toml.new config.example.toml

soak-bridges: soak-irc soak-mail ## ten minutes of each bridge while all around it are killed at random

soak-irc: setup ## ten minutes of IRC, bridge, relay and IRC server killed, a nick for all and for each
	@OFCD_SOAK_SECONDS=$(STORM) $(BIN)/python -m pytest tests/bridge/irc/test_inspircd.py -k killed -n 0 \
		-q -s -p no:randomly $(ARGS)

soak-mail: setup ## ten minutes of mail, bridge, relay, Postfix and Dovecot killed (STORM=600 seconds)
	@OFCD_SOAK_SECONDS=$(STORM) $(BIN)/python -m pytest tests/bridge/email/test_killed.py -q -s

bench: setup ## run the benchmarks, each a ratio to its rival in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

bench-page: setup web-build ## time the page's first load in Chromium; fails if it takes more than 2 s
	@PYTHON=$(CURDIR)/$(BIN)/python npm --prefix web run --silent timing

screenshots: setup web-build ## picture each view of the page, in six looks, to look at (SHOTS=var/screenshots)
	@SCREENSHOTS=$(abspath $(SHOTS)) PYTHON=$(CURDIR)/$(BIN)/python npm --prefix web run --silent screenshots

soak: setup ## storms that last: relays killed, roads cut, clocks wrong (STORM=600 seconds each)
	@OFCD_SOAK=$(STORM) $(BIN)/python -m pytest -p no:randomly -s tests/live/test_storm.py \
		tests/live/test_federation.py $(ARGS)
	@FEDERATION_EVENTS=10000 OFCD_FRAMES=1000000 $(BIN)/python -m pytest -q -k "test_28 or test_16" \
		tests/federation/test_lost.py tests/daemon/test_flood.py

mutation: setup ## remove each verify step in turn: some test must go red
	@$(BIN)/python tools/mutation_check.py $(ARGS)

vectors: setup ## write tests/vectors anew from the code
	@$(BIN)/python tools/make_vectors.py $(ARGS)

reference: setup ## write docs/bots-reference.md anew from the docstrings
	@$(BIN)/python tools/make_reference.py

wheel: setup web-build ## build a wheel that holds the embedded core and the page, into dist/
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .

clean: ## remove caches and built files, but neither .venv nor data
	@rm -rf build dist web/dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache \
		.ruff_cache .import_linter_cache $(CORE)
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean ## remove .venv as well
	@rm -rf $(VENV)
