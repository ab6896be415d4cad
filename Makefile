# Each target installs what it needs: uv, if there is none, and the pinned packages of uv.lock into .venv.
# `make help` lists the targets.

export UV_PROJECT_ENVIRONMENT ?= .venv
export PATH := $(CURDIR)/.uv/bin:$(PATH)

RUN = uv run --locked --quiet
PYTEST_ARGUMENTS ?=

.PHONY: help demo test check format install tools

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: install ## a throw-away shop with 90 days of events, exported before your eyes
	$(RUN) smsevents demo $(DEMO_ARGUMENTS)

test: install tools ## all tests
	$(RUN) pytest $(PYTEST_ARGUMENTS)

check: install ## format, lint, types, layers, docstrings of tests
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) interrogate --quiet src tests

format: install ## format the code and mend what can be mended
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

install:
	@sh scripts/install-uv
	@uv sync --locked --quiet

tools:
	@sh scripts/install-test-tools
