# Every target does its own set-up: a Python of 3.11 or newer and git are all it needs.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
# A file of tests stays in one process, and the files begin in the order of tests/conftest.py.
SPREAD := -n auto --dist loadfile --no-loadscope-reorder
export PORT

.DEFAULT_GOAL := help
.PHONY: help demo run test check pins lint types contracts migrations templates clean

help: ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(VENV)/base: requirements/base.txt
	@$(PYTHON) scripts/environment.py $(VENV) requirements/base.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt
	@$(PYTHON) scripts/environment.py $(VENV) requirements/dev.txt
	@touch $(VENV)/base $@

demo: $(VENV)/base ## Drive the main job on real input, then keep serving (ONCE=1 to end after it)
	@$(BIN)/python manage.py demo $(if $(ONCE),--once)

run: $(VENV)/base ## Serve Sluice on http://127.0.0.1:$PORT, without the demo
	@$(BIN)/python manage.py serve

test: check ## Run everything that guards main, on SQLite and on PostgreSQL
	@$(BIN)/python -m tests.parts.browser
	@$(BIN)/python -m tests.parts.tools
	@$(BIN)/python -m pytest $(SPREAD) -m "not postgres and not whole and not (outside and database)"
	@$(BIN)/python -m tests.parts.postgres -- $(BIN)/python -m pytest $(SPREAD) -m "(database or postgres or whole) and not door"

check: $(VENV)/dev lint types contracts migrations templates ## Check style, types, imports, migrations and templates

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev
	@$(BIN)/mypy .

contracts: $(VENV)/dev
	@$(BIN)/lint-imports

migrations: $(VENV)/dev
	@$(BIN)/python manage.py makemigrations --check --dry-run

templates: $(VENV)/dev
	@$(BIN)/djlint templates --check --quiet
	@$(BIN)/djlint templates --lint --quiet

pins: $(VENV)/dev ## Pin the newest releases that requirements/*.in allow, with hashes
	@for name in base dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Remove the environment and what tools left behind; data in var/ stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
