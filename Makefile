# make train   end to end on a sample: corpus, MLM and ALIGN-MLM, transfer table, report
# make test    the test suite;  make test-quick  two minutes of it;  make test-slow  what takes minutes
# make coverage  the test suite, and how much of the code it runs; a third slower
# make lint    ruff and mypy;  make format;  make docs  the pages
# make test-cluster  real nodes, MPI and SLURM on this machine (root, Debian: it installs what it needs)
# make release VERSION=x.y.z  wheel, commit and tag of what the changelog lists as unreleased
# make kernels-compile  the GPU kernels for three generations of GPU, without needing one
# Each does its own set-up with nothing but Python 3.11 to 3.13, a C++ compiler and the package index.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CLUSTER ?= cluster
BIN := $(VENV)/bin
# Everything but DeepSpeed comes as a wheel; what is built is built by PEP 517 with pinned tools.
PIP := PYTHONWARNINGS=ignore DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
PINNED := --constraint constraints.txt --build-constraint build-constraints.txt \
	--only-binary :all: --no-binary deepspeed
WITH_MPI := ".[test,mpi]"  # a comma would end an argument of $(call)
RUN := $(VENV)/.run-installed
TEST := $(VENV)/.test-installed
# Ranks and compiled code are tested by processes of their own, so two workers use two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
WORKERS ?= 2
SUITE = -n $(WORKERS) --dist loadfile -m "not slow and not cluster and not bench and not gpu"

# Python compiles what it imports once and not in each process, wherever this is called from.
unexport PYTHONDONTWRITEBYTECODE
IMPORTED := deepspeed, transformers.trainer, alignmlm.studies.study, alignmlm.pretraining.run, alignmlm.reporting.page

.PHONY: train test coverage test-quick test-slow test-cluster kernels-compile lint format docs release clean

train: $(RUN)
	$(BIN)/alignmlm study run studies/sample.yaml

test: $(TEST)
	$(PYTEST) $(SUITE)

coverage: $(TEST)
	$(PYTEST) $(SUITE) --cov --cov-report=term:skip-covered --cov-fail-under=85

# what needs no training, no ranks and no processes: for use while working
test-quick: $(TEST)
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not cluster and not bench and not gpu and not dist" \
		tests/data tests/languages tests/models tests/numerics tests/objectives tests/storage tests/probes tests/tasks \
		tests/test_config.py tests/test_layers.py

test-slow: $(TEST)
	$(BIN)/python -m pytest -m "slow and not cluster"

test-cluster: $(TEST)
	sh tests/cluster/install.sh
	$(call install,mpi,what builds a corpus by MPI,about 20 s left,$(PINNED) --editable $(WITH_MPI))
	$(BIN)/python -m pytest tests/cluster -m "$(CLUSTER)" -rs

kernels-compile: $(TEST)
	$(BIN)/python kernels/compile_all.py

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TEST)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tests.tour

# $(call install,step,what it is,minutes left,arguments): a failure is named, with what to do about it
define install
@echo "[$(1)] installing $(2) ($(3))"
@$(PIP) $(4) || { echo "[$(1)] failed: $(2). pip's message above names the package." >&2; \
	echo "Check network, disk (4 GB) and C++ compiler; the same command then goes on." >&2; exit 1; }
endef

# Of torch's builds for Linux an index may have one for CPUs (200 MB) and one with CUDA (3 GB).
$(RUN): pyproject.toml constraints.txt build-constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "No virtual environment: on Debian and Ubuntu, install python3-venv first" >&2; exit 1; }
	$(call install,1/4,pip,about 4 minutes left for all four,pip==26.3)
	$(call install,2/4,torch and numpy: the largest download,about 4 minutes left,$(PINNED) torch numpy)
	$(call install,3/4,DeepSpeed: built from source,about 3 minutes left,$(PINNED) deepspeed)
	$(call install,4/4,alignmlm and its libraries,about 2 minutes left,$(PINNED) --editable .)
	@DS_ACCELERATOR=cpu $(BIN)/python -c "import $(IMPORTED)"
	@touch $@

$(TEST): $(RUN)
	$(call install,tests,what the tests need,about 1 minute left,$(PINNED) --editable ".[test]")
	@touch $@

docs: $(RUN)
	$(call install,docs,what the pages need,about 20 s left,$(PINNED) --editable ".[docs]")
	sed -i '/^## All settings$$/,$$d' docs/settings.md && $(BIN)/alignmlm settings >> docs/settings.md
	$(BIN)/mkdocs build --strict

# What was unreleased gets the version and today's date; its text is the tag's message.
release: $(RUN)
	@echo "$(VERSION)" | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+$$' || { echo "make release VERSION=1.2.3" >&2; exit 1; }
	@test -z "$$(git status --porcelain)" || { echo "Commit what is not committed first: git status" >&2; exit 1; }
	@! git rev-parse -q --verify v$(VERSION) > /dev/null || { echo "v$(VERSION) was released" >&2; exit 1; }
	sed -i 's/^## Unreleased$$/&\n\n## $(VERSION) ($(shell date +%Y-%m-%d))/' CHANGELOG.md
	sed -i 's/^__version__ = .*/__version__ = "$(VERSION)"/' alignmlm/__init__.py
	rm -rf build
	{ $(BIN)/python -m pip wheel --quiet --no-deps $(PINNED) --wheel-dir dist . && \
		git commit --quiet --all --message "Release $(VERSION)"; } || \
		{ git checkout --quiet HEAD CHANGELOG.md alignmlm/__init__.py; exit 1; }
	sed -n '/^## $(VERSION) /,/^## /{/^## /!p}' CHANGELOG.md | git tag --annotate v$(VERSION) --cleanup=whitespace --file -
	@echo "dist/alignmlm-$(VERSION)-py3-none-any.whl; then: git push --follow-tags"

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage*
