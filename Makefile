# Everything a person or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint fix bench prove lock migration clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Beforehand needs Python 3.11 or newer (PYTHON=... names another)"; exit 1; }
	@echo "Setting up $(VENV), once: a minute or so ..." >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "Adding what tests and linters need ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock >&2
	@touch $@

demo: $(VENV)/.run ## Load the sample shop and run the main job (ONCE=1 ends after the first round, JSON=1 prints figures)
	@$(BIN)/beforehand demo $(if $(ONCE),--once) $(if $(JSON),--json)

# Thousands of small databases are made and thrown away: in memory, where there is room, that takes a third less time.
test: ROOM := $(or $(TMPDIR),$(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 6000000 { print $$6 }'),/tmp)
test: $(VENV)/.dev ## Run every test
	@room=$$(mktemp -d $(ROOM)/beforehand-XXXXXX) && \
	if TMPDIR=$$room $(BIN)/python -m pytest -n 3 --dist loadfile -m "not prove and not bench"; then rm -rf $$room; \
	else echo "What the tests made is kept in $$room"; exit 1; fi

lint: $(VENV)/.dev ## Check style, types and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev ## Put style right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -c "from beforehand.settings import example; print(example(), end='')" > .env.example
	$(BIN)/python -m tests.docs.pages

bench: $(VENV)/.dev ## Measure, and print the figures for docs/figures.md
	$(BIN)/python -m pytest -m bench -s

prove: $(VENV)/.dev ## Run the slow proofs
	$(BIN)/python -m pytest -m prove -s

lock: ## Write the lock files anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

migration: $(VENV)/.dev ## Write a migration from the models (SAY="what changes")
	$(BIN)/python -m models.migrations.new "$(SAY)"
	$(BIN)/ruff check --fix -q models/migrations && $(BIN)/ruff format -q models/migrations

clean: ## Remove what was made here
	rm -rf $(VENV) var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
