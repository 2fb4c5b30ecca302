# `make help` lists the targets. Every target sets up what it needs, in .venv and .venv-tl4.

TL3 := 3.9.0
TL4 := 4.3.0
PYTHON ?= $(shell command -v python3.11 || command -v python3)
MODEL ?= calendar
TASK ?= months
REPORT := out/report.html
CHECK := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help report test test-tl4 lint types format train clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

report: .venv/.installed ## measure the bundled model on the months task and write out/report.html
	@mkdir -p $(dir $(REPORT))
	@.venv/bin/lensdepth report --model $(MODEL) --task $(TASK) --out $(REPORT) --force

test: .venv/.installed ## run the tests on TransformerLens 3.9
	.venv/bin/python -m pytest

test-tl4: .venv-tl4/.installed ## run the same tests on TransformerLens 4
	.venv-tl4/bin/python -m pytest

lint: .venv/.installed ## check style and formatting
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.installed ## check types
	.venv/bin/pyright --pythonpath .venv/bin/python

format: .venv/.installed ## mend style and formatting
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

train: .venv/.installed ## train the bundled model anew into out/calendar (about an hour on two cores)
	.venv/bin/python -m lensdepth.bundled.train --design calendar --out out/calendar

clean: ## remove environments, caches and reports
	rm -rf .venv .venv-tl4 out build dist .pytest_cache .ruff_cache .hypothesis

.venv/.installed: TL := $(TL3)
.venv-tl4/.installed: TL := $(TL4)
.venv/.installed .venv-tl4/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK)' 2>/dev/null || { echo "lensdepth needs Python 3.11 or newer with venv (on Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "transformer-lens==$(TL)" --editable ".[dev]"
	@touch $@
