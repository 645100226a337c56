# make run [SUITE=jan2024] [ARGS="--limit 50"]   measure and render the report
# make test                                      every test
# make lint                                      style, types, import rules
# make check                                     the same, and the fast tests

SUITE ?= jan2024
ARGS ?=
PYTHON ?= python3
VENV := .venv
ACCELERATOR := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
LOCK := locks/$(ACCELERATOR).txt
# A copy of the lock that was installed: the environment is redone when the two differ.
INSTALLED := $(VENV)/installed-$(ACCELERATOR).txt
PIP := $(VENV)/bin/python -m pip --quiet --quiet --disable-pip-version-check

# Where Python is told to keep no bytecode, each process would compile half a million lines anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check lint lock clean env browser

run: env
	@$(VENV)/bin/python run_all.py --suite $(SUITE) $(ARGS)

# One more process than cores: engines of the tests' sizes use one thread, and wait a third of the time.
PYTEST := $(VENV)/bin/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile --no-loadscope-reorder --durations=15

test: env
	@$(PYTEST)

check: lint
	@$(PYTEST) -m "not slow"

lint: env
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/python tests/studies/limits.py

env:
	@cmp -s $(LOCK) $(INSTALLED) || $(MAKE) --no-print-directory install-$(ACCELERATOR)

.PHONY: install-cpu install-gpu python-fits
install-cpu install-gpu: $(VENV)/bin/python
	@$(VENV)/bin/python locks/install.py $(LOCK)
	@# The package itself: vLLM finds the plugin for fused models by its entry point.
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@cp $(LOCK) $(INSTALLED)

$(VENV)/bin/python: | python-fits
	@echo "Making the environment $(VENV)."
	@$(PYTHON) -m venv $(VENV)

python-fits:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	    || { echo "$(PYTHON) is not Python 3.11 to 3.13; use one that is: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 2; }

lock:
	@$(PYTHON) locks/regenerate.py

# For the tests of the report's pages, and to shut in programs that models write.
browser:
	@.ci/tools

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# make bench     ratios in interleaved pairs, and the harness's own speed; bench.json keeps the seconds
.PHONY: bench
bench: env
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/bench/bench_*.py -q -p no:cacheprovider \
	    --benchmark-columns=min,mean,stddev,rounds

# make guard     the same harness, against the last time on this machine: slower by 15 % fails
.PHONY: guard
guard: env
	@OMP_NUM_THREADS=1 $(VENV)/bin/python tests/studies/guard.py

# make nightly [ZOO=auto] [HISTORY=runs/nightly] [OUT=FOLDER] [KEEP=60] [WAIVE="--waive '*:speed'"]
#              tonight's run, against the night before; then the trends of all nights.
#              docs/nightly.md
ZOO ?= auto
HISTORY ?= runs/nightly
OUT ?= $(HISTORY)/$(shell date -u +%Y-%m-%dT%H-%M)
KEEP ?= 60
WAIVE ?=
.PHONY: nightly
nightly: OUT := $(OUT)
nightly: env
	@$(VENV)/bin/python run_all.py --suite nightly --zoo $(ZOO) --out "$(OUT)" \
	    --compare previous --fail-on-regression $(WAIVE); code=$$?; \
	    $(VENV)/bin/python run_all.py prune "$(HISTORY)" --keep $(KEEP) && \
	    $(VENV)/bin/python run_all.py trends "$(HISTORY)" || exit 2; exit $$code

# make gpu-check where there is an NVIDIA GPU: the tests that need one, then what the true sizes
#                cost on it; docs/gpu keeps the numbers
.PHONY: gpu-check has-gpu
gpu-check: has-gpu env
	@$(VENV)/bin/python -m pytest -m gpu
	@$(VENV)/bin/python run_all.py --suite gpu-check --device cuda; code=$$?; \
	    $(VENV)/bin/python -m melange.reports.archive runs/gpu-check-true-shapes docs/gpu && exit $$code

has-gpu:
	@[ $(ACCELERATOR) = gpu ] || { echo "gpu-check: nvidia-smi finds no NVIDIA GPU; run it where there is one"; exit 2; }

# make stats-study [DRAWS=1000]   coverage of intervals, false separations and false steps, simulated;
#                                 docs/statistics.md keeps the figures. Then metrics that are no means,
#                                 and open loops, whose figures stand with their decisions
DRAWS ?= 1000
.PHONY: stats-study
stats-study: env
	@$(VENV)/bin/python tests/studies/claims.py --runs $(DRAWS)
	@$(VENV)/bin/python -m tests.studies.pooled_coverage
	@$(VENV)/bin/python -m tests.studies.open_loops

# make aa-runs [PAIRS=10] [ALIKE=runs/aa]   pairs of small runs of the pocket zoo, one after the other
#                                           and all alike; goes on where it stopped
# make gate-study [RUNS="a b c d"]          false alarms and power of the gate, from such pairs (a with
#                                           b, c with d) or a folder of them; docs/gate.md keeps them
PAIRS ?= 10
ALIKE ?= runs/aa
RUNS ?= $(ALIKE)
.PHONY: aa-runs gate-study
aa-runs: env
	@$(VENV)/bin/python tests/studies/aa_runs.py "$(ALIKE)" --pairs $(PAIRS)

gate-study: env
	@$(VENV)/bin/python tests/studies/gate.py $(RUNS)

# make race-study [RUN=FOLDER]   what racing saves on a full run, and how often it errs;
#                                docs/decisions/racing.md keeps the figures
.PHONY: race-study
race-study: env
	@OMP_NUM_THREADS=1 $(VENV)/bin/python tests/studies/race.py $(or $(RUN),runs/jan2024-pocket)

# make screenshots [RUN=FOLDER]   pictures of every kind of page of a run's report, to docs/images
.PHONY: screenshots
screenshots: env
	@$(VENV)/bin/python tests/studies/screenshots.py $(RUN)

# make zoo [ROLES="small_mix large_mix"] [SEED=0]   train the pocket zoo again, and ship what comes
#                                                   out; another seed stays in the cache
ROLES ?=
SEED ?=
.PHONY: zoo
zoo: env
	@$(VENV)/bin/python -m melange.baselines.zoo.make --roles "$(ROLES)" --seed "$(SEED)"

# make zoo-study [SEEDS="1 2"]   how far two trainings of one spec differ, on every task
# make processor-study           whether scores are the same held to AVX2
SEEDS ?= 1 2
.PHONY: zoo-study processor-study
zoo-study: env
	@$(VENV)/bin/python tests/studies/zoo.py $(SEEDS)

processor-study: env
	@$(VENV)/bin/python tests/studies/processor.py

# make parity [ONLY="Gemma2 Phi*"] [ARGS=--wrong]   tiny checkpoints of every architecture against
#               plain transformers; goes on where it stopped, then writes docs/architectures.md
ONLY ?=
.PHONY: parity
parity: env
	@set -f; $(VENV)/bin/python tests/parity/run.py $(ONLY) $(ARGS)

# make check-study   how often the run's check of itself finds faults that are planted in the harness
.PHONY: check-study
check-study: env
	@OMP_NUM_THREADS=1 $(VENV)/bin/python tests/studies/check.py

# make speed-study RUN=FOLDER      how well a run knows its speeds
# make speed-study APART=FOLDER [ARGS="--only 'large_*'"]   whether candidates of equal kernels are
#                                  equally fast: times each apart, into the folder
.PHONY: speed-study
speed-study: env
	@$(VENV)/bin/python tests/studies/speed.py $(RUN) $(if $(APART),--apart $(APART)) $(ARGS)
