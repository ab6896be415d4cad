# Each target installs what it needs: uv, if there is none, and the pinned packages of uv.lock into .venv.
# `make help` lists the targets. No target removes from .venv what another one put there.

export UV_PROJECT_ENVIRONMENT ?= .venv
export PATH := $(CURDIR)/.uv/bin:$(PATH)

RUN = uv run --locked --quiet
SYNC = uv sync --locked --inexact --quiet --compile-bytecode
PYTEST_ARGUMENTS ?=

BENCH = $(RUN) --group bench --group seaweedfs python -m bench.run
BENCH_ARGUMENTS ?=
EVENTS ?= 2000000
SOAK_SECONDS ?= 600

# what must run on Windows too
DESK = src/smsevents/client src/smsevents/wire $(addprefix src/smsevents/cli/,__init__.py commands.py pull.py sync.py)

.PHONY: help demo demo-cluster install test test-fast test-all check check-bare bench bench-soak bench-before
.PHONY: format uv develop tools bench-tools vendor screenshots

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

demo: install ## a throw-away shop with 90 days of events, exported before your eyes
	@$(UV_PROJECT_ENVIRONMENT)/bin/smsevents demo $(DEMO_ARGUMENTS)

demo-cluster: develop ## PostgreSQL, object storage and two servers, parts of which are killed; nothing is lost
	@sh scripts/demo-cluster
	@$(RUN) --group seaweedfs python -m bench.cluster $(DEMO_ARGUMENTS)

install: uv ## smsevents into .venv, for use; WITH="parquet sync" adds these extras
	@$(SYNC) --no-dev $(addprefix --extra ,$(WITH))

test: develop tools ## all tests but the campaigns, about 15 minutes on two cores
	$(RUN) --group seaweedfs pytest $(PYTEST_ARGUMENTS)

test-fast: develop ## tests without a server process, browser or database server, under 30 seconds
	$(RUN) pytest -m "not slow and not campaign" tests/unit tests/contracts $(PYTEST_ARGUMENTS)

test-all: develop tools ## all tests and the long campaigns: full fuzz, kill and fault runs, every runtime
	$(RUN) --group readers --group seaweedfs pytest --hypothesis-profile random -m "campaign or not campaign" $(PYTEST_ARGUMENTS)

check: develop ## format, lint, types, layers, docstrings of tests, words
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) mypy --platform win32 --cache-dir .mypy_cache/win32 $(DESK)
	$(RUN) lint-imports
	$(RUN) interrogate --quiet src tests || { $(RUN) interrogate -vv --omit-covered-files src tests; exit 1; }
	$(RUN) python scripts/check-language

check-bare: ## install, demo and test on a bare Debian 12 and 13; as root, takes long; CHECK_BARE_ARGUMENTS=--help
	@scripts/check-bare $(CHECK_BARE_ARGUMENTS)

bench: develop bench-tools ## measure beside the peers; EVENTS=100000 is a trial, docs/performance.md tells more
	$(BENCH) --events $(EVENTS) $(BENCH_ARGUMENTS)

bench-soak: develop ## import and export side by side for SOAK_SECONDS (600)
	$(BENCH) --part soak --events $(EVENTS) --soak-seconds $(SOAK_SECONDS)

bench-before: develop ## processor time beside another checkout: BEFORE=../other/src
	$(BENCH) --before $(BEFORE)

vendor: ## bundle the libraries of the page again, with npm; the result is committed
	cd frontend/vendor && npm ci --ignore-scripts && node build.mjs

screenshots: develop ## make the pictures in docs/screenshots again; needs Chromium
	$(RUN) python scripts/make-screenshots

format: develop ## format the code and fix what can be fixed
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

uv:
	@sh scripts/install-uv

develop: uv
	@$(SYNC)

tools:
	@sh scripts/install-test-tools

bench-tools:
	@sh scripts/install-bench-tools
