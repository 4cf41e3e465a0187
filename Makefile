# make train   the whole way on a sample: corpus, MLM and ALIGN-MLM, transfer table, report
# make test    the test suite;  make test-slow  what takes minutes;  make lint;  make docs
# make test-cluster  real nodes, MPI and SLURM on this machine (root, Debian: it installs what it needs)
# make kernels-compile  the GPU kernels for three generations of GPU, without one
# Each does its own set-up with nothing but Python 3.11, a C++ compiler and the package index.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CLUSTER ?= cluster
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
RUN := $(VENV)/.run-installed
TEST := $(VENV)/.test-installed

.PHONY: train test test-slow test-cluster kernels-compile lint format docs clean

train: $(RUN)
	$(BIN)/alignmlm study run studies/sample.yaml

test: $(TEST)
	$(BIN)/python -m pytest -m "not slow and not cluster and not bench and not gpu" \
		--cov --cov-report=term:skip-covered --cov-fail-under=85

test-slow: $(TEST)
	$(BIN)/python -m pytest -m "slow and not cluster"

test-cluster: $(TEST)
	sh tests/cluster/install.sh
	if command -v mpicc >/dev/null; then $(PIP) --no-build-isolation --editable ".[test,mpi]"; fi
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

# torch first and pinned: the plain name would bring gigabytes of CUDA packages to a CPU machine.
# DeepSpeed is built from source and needs torch to be there, hence no build isolation.
$(RUN): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip setuptools wheel
	$(PIP) torch numpy
	DS_BUILD_OPS=0 $(PIP) --no-build-isolation deepspeed
	$(PIP) --no-build-isolation --editable .
	touch $@

$(TEST): $(RUN)
	$(PIP) --no-build-isolation --editable ".[test]"
	touch $@

docs: $(RUN)
	$(PIP) --no-build-isolation --editable ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage*
