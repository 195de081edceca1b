# make quickstart [DEVICE=cpu|tpu|cuda]   train, score and report on the embedded corpus
# make test                               checks and tests
# make parity                             compares with transformers, in an environment of its own
# make beam                               prepares on Apache Beam, in an environment of its own
# make docs                               the documentation as a site, in .site; a broken link fails
PYTHON ?= python3
DEVICE ?= cpu
WORKDIR ?= runs/quickstart
VENV := .venv
RUN := $(VENV)/bin/python
PARITY := .venv-parity
LIBTPU := .libtpu
# Files of tests side by side, as many as there are cores: compiling takes one.
TOGETHER := -n auto --dist loadfile
BEAM := .venv-beam
DOCS := .venv-docs
ROOMS := common configs data model train eval app experiments benchmarks
# The rooms as the package `lengthwise`, for checkers that don't run its __init__.py.
NAMED := .named

JAX_cpu := jax
JAX_tpu := jax[tpu]
JAX_cuda := jax[cuda12]
ifeq ($(JAX_$(DEVICE)),)
$(error DEVICE=$(DEVICE) is unknown; choose cpu, tpu or cuda)
endif

# XLA's CPU client takes and gives back its temporaries at every step; huge pages save about a tenth
# of the time. glibc reads this; elsewhere it means nothing.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: help quickstart test test-all parity beam docs lint clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,5s/^# //p' Makefile

quickstart: $(VENV)/.installed-$(DEVICE)
	$(RUN) main.py --config=configs/quickstart.py --workdir=$(WORKDIR)

test: lint $(LIBTPU)/.installed
	$(RUN) -m pytest $(TOGETHER) -m "not slow"

# Everything, the slow ones too, with all of LLVM's optimizations: before a release, or when the resume
# path changes.
test-all: $(VENV)/.installed-test $(LIBTPU)/.installed
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest $(TOGETHER)

# The figures of transformers, computed anew: the decoder agrees with them, and so do the frozen ones
# that `make test` uses. After a change on purpose, copy the fresh files over the frozen ones.
parity: $(VENV)/.installed-test $(PARITY)/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PARITY)/bin/python -m tests.parity.reference $(PARITY)/figures
	LENGTHWISE_PARITY_FIGURES=$(abspath $(PARITY))/figures $(RUN) -m pytest tests/parity

# With what a worker has and no more: no jax.
beam: $(BEAM)/.installed
	$(BEAM)/bin/python -m pytest --confcutdir=tests/data tests/data/prepare/test_beam_pool.py

docs: $(DOCS)/.installed
	$(DOCS)/bin/python -m mkdocs build --strict --quiet
	@echo "documentation: .site/index.html"

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@mkdir -p $(NAMED)/lengthwise
	@ln -sfn $(addprefix ../../,$(ROOMS) lengthwise/__init__.py lengthwise/__main__.py) $(NAMED)/lengthwise
	cd $(NAMED) && $(abspath $(VENV))/bin/mypy --config-file=../pyproject.toml --cache-dir=../.mypy_cache -p lengthwise
	cd $(NAMED) && PYTHONPATH=. $(abspath $(VENV))/bin/lint-imports --no-logo --no-cache ../pyproject.toml

$(VENV)/bin/python $(PARITY)/bin/python $(BEAM)/bin/python $(DOCS)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than 3.11; say which to use: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv; Fedora: dnf install python3)" >&2; exit 1; }
	$(PYTHON) -m venv $(@D:%/bin=%)

$(VENV)/.installed-%: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt "$(JAX_$*)"
	@touch $@

$(VENV)/.installed-test: requirements.txt requirements-corpora.txt requirements-harness.txt requirements-test.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@touch $@

$(LIBTPU)/.installed: requirements-tpu.txt | $(VENV)/bin/python
	mkdir -p $(LIBTPU)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(LIBTPU) -r requirements-tpu.txt
	@touch $@

$(PARITY)/.installed: requirements-parity.txt | $(PARITY)/bin/python
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-parity.txt
	@touch $@

$(BEAM)/.installed: requirements-beam.txt requirements-test.txt | $(BEAM)/bin/python
	$(BEAM)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-beam.txt \
	  $$(sed -nE 's/^((pytest|hypothesis)[^ ]*).*/\1/p' requirements-test.txt)
	@touch $@

$(DOCS)/.installed: requirements-docs.txt | $(DOCS)/bin/python
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(LIBTPU) $(BEAM) $(DOCS) .site $(NAMED) runs .mypy_cache .ruff_cache .pytest_cache
