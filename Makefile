# make train   the whole way on a sample: corpus, MLM and ALIGN-MLM, transfer table, report
# make test    the test suite (make test-quick: in two minutes);  make test-slow  what takes minutes;  make lint;  make docs
# make test-cluster  real nodes, MPI and SLURM on this machine (root, Debian: it installs what it needs)
# make kernels-compile  the GPU kernels for three generations of GPU, without one
# Each does its own set-up with nothing but Python 3.11 to 3.13, a C++ compiler and the package index.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CLUSTER ?= cluster
BIN := $(VENV)/bin
# Everything but DeepSpeed comes as a wheel; what is built is built by PEP 517 with pinned tools.
PIP := DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
PINNED := --constraint constraints.txt --build-constraint build-constraints.txt \
	--only-binary :all: --no-binary deepspeed
RUN := $(VENV)/.run-installed
TEST := $(VENV)/.test-installed
# Ranks and compiled code are tested by processes of their own, so two workers use two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
WORKERS ?= 2

.PHONY: train test test-quick test-slow test-cluster kernels-compile lint format docs clean

train: $(RUN)
	$(BIN)/alignmlm study run studies/sample.yaml

test: $(TEST)
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not cluster and not bench and not gpu" \
		--cov --cov-report=term:skip-covered --cov-fail-under=85

# what needs no training, no ranks and no processes: for the way of working
test-quick: $(TEST)
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not cluster and not bench and not gpu and not dist" \
		tests/data tests/languages tests/objectives tests/storage tests/probes tests/tasks \
		tests/test_config.py tests/test_layers.py tests/test_model.py

test-slow: $(TEST)
	$(BIN)/python -m pytest -m "slow and not cluster"

test-cluster: $(TEST)
	sh tests/cluster/install.sh
	$(PIP) $(PINNED) --editable ".[test,mpi]"
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

# $(call install,step,what and how long,arguments): a failure names the step and what to do
define install
@echo "[$(1)] installing $(2)"
@$(PIP) $(3) || { echo "installing $(firstword $(2)) failed: pip's message above names the package." >&2; \
	echo "Check the network and the disk (4 GB), then start the same command again." >&2; exit 1; }
endef

# torch first and pinned: the plain name would bring gigabytes of CUDA packages to a CPU machine.
$(RUN): pyproject.toml constraints.txt build-constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(call install,1/4,pip (about 3 minutes left for everything),pip==26.3)
	$(call install,2/4,torch and numpy: the largest download (about 3 minutes left),$(PINNED) torch numpy)
	$(call install,3/4,deepspeed: built from source (about 90 s left),$(PINNED) deepspeed)
	$(call install,4/4,alignmlm and its libraries (about 60 s left),$(PINNED) --editable .)
	@touch $@

$(TEST): $(RUN)
	$(call install,tests,what the tests need (about 30 s left),$(PINNED) --editable ".[test]")
	@touch $@

docs: $(RUN)
	$(PIP) $(PINNED) --editable ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage*
