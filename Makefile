# Each target installs what it needs: uv, if there is none, and the pinned packages of uv.lock into .venv.
# `make help` lists the targets.

export UV_PROJECT_ENVIRONMENT ?= .venv
export PATH := $(CURDIR)/.uv/bin:$(PATH)

RUN = uv run --locked --quiet
PYTEST_ARGUMENTS ?=

BENCH = $(RUN) --group bench python -m bench.run
BENCH_ARGUMENTS ?=
EVENTS ?= 2000000
SOAK_SECONDS ?= 600

.PHONY: help demo test test-fast test-all check bench bench-soak bench-before format install tools bench-tools

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

demo: install ## a throw-away shop with 90 days of events, exported before your eyes
	$(RUN) smsevents demo $(DEMO_ARGUMENTS)

test: install tools ## all tests that fit into 13 minutes on two cores
	$(RUN) pytest $(PYTEST_ARGUMENTS)

test-fast: install ## tests without a server process, browser or database server, under 30 seconds
	$(RUN) pytest -m "not slow and not campaign" tests/unit tests/contracts $(PYTEST_ARGUMENTS)

test-all: install tools ## all tests and the long campaigns: full fuzz, kill and fault runs, every runtime
	$(RUN) pytest -m "campaign or not campaign" $(PYTEST_ARGUMENTS)

check: install ## format, lint, types, layers, docstrings of tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) interrogate --quiet src tests

bench: install bench-tools ## measure beside the peers; EVENTS=100000 is a trial, docs/performance.md tells more
	$(BENCH) --events $(EVENTS) $(BENCH_ARGUMENTS)

bench-soak: install ## import and export side by side for SOAK_SECONDS (600)
	$(BENCH) --part soak --events $(EVENTS) --soak-seconds $(SOAK_SECONDS)

bench-before: install ## processor time beside another checkout: BEFORE=../other/src
	$(BENCH) --before $(BEFORE)

format: install ## format the code and mend what can be mended
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

install:
	@sh scripts/install-uv
	@uv sync --locked --quiet --compile-bytecode

tools:
	@sh scripts/install-test-tools

bench-tools:
	@sh scripts/install-bench-tools
