# One name per chore, the same here and in CI. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup image epoch up bench chaos fleet fuzz card pictures economics test test-long lint types contracts format audit sbom release lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every cache of ours stays in the repository's .local/ folder.
export NUMBA_CACHE_DIR := $(CURDIR)/.local/numba
export PREFECT_HOME := $(CURDIR)/.local/prefect
export MYPY_CACHE_DIR := $(CURDIR)/.local/mypy
export RUFF_CACHE_DIR := $(CURDIR)/.local/ruff
export MPLCONFIGDIR := $(CURDIR)/.local/cache/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Containers often forbid Python to keep what it has compiled: here hundreds of processes import the same modules.
export PYTHONDONTWRITEBYTECODE :=

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.installed | $(PREFECT_HOME)  ## Make the virtual environment with the locked dependencies

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed, $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing the locked dependencies into $(VENV) (once, some minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(PREFECT_HOME):
	@mkdir -p $@

epoch: setup  ## Run one validation epoch on the local subnet and show what it found
	@$(BIN)/subnet epoch

up: setup  ## Keep the whole system up: subnet, Prefect server and UI, a worker, an epoch every few minutes
	@$(BIN)/subnet up

bench: setup  ## Measure speed and memory against floors (ONLY=name for one row); writes .local/bench.json
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

fleet: N ?= 1000
fleet: setup  ## Run an epoch over N simulated executors and tell what it took (RTT=100 SEED=1 FAULTS=0.1 WAIT=5-20 KIND=openssh WARM=1 JSON=1)
	@$(BIN)/python -m deployments.localnet.fleet --executors $(N) $(if $(RTT),--rtt $(RTT)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(FAULTS),--faults $(FAULTS)) $(if $(WAIT),--wait $(WAIT)) $(if $(KIND),--kind $(KIND)) $(if $(WARM),--warm) $(if $(JSON),--json)

chaos: setup system-packages  ## Kill everything at random moments for MINUTES=10, then check what must hold (SEED=1 repeats it); into .local/chaos
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

fuzz: setup  ## Send the readers of strangers' words what nobody should (SECONDS=60 SEED=n ONLY=name); what it finds is in .local/fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

pictures: setup  ## Take pictures of every page of the marketplace, on a local system; into .local/pictures
	@$(BIN)/python -m tests.pictures

card: setup  ## On a machine with an NVIDIA card: every kernel, whole proofs, what goes wrong, and how fast; into .local/card
	@$(BIN)/python -m tests.kernels.cuda.on_card

economics: setup  ## Show what each known cheat would earn against honest work, by the proof's cost model
	@$(BIN)/subnet economics

test: setup system-packages format-check lint types contracts  ## Formatting, lint, types, import contracts and all tests
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not long"

test-long: setup  ## What is long by nature: chaos, fuzzing, a thousand-fold repetition
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m long

.PHONY: format-check
format-check: setup
	@$(BIN)/ruff format --check --quiet .

# What tests need beside Python: installed where that is possible, else the tests that need it are skipped by name.
# Program:package; the container engines are started by the tests themselves, beside whatever runs already.
SYSTEM_PACKAGES := sshd:openssh-server ssh:openssh-client dockerd:docker.io podman:podman runc:runc dropbear:dropbear-bin \
  sftp-server:openssh-sftp-server busybox:busybox-static ip:iproute2 nsenter:util-linux iptables:iptables rsync:rsync \
  chromium:chromium initdb:postgresql redis-server:redis-server
SYSTEM_PATH := /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/openssh:/usr/lib/postgresql/15/bin:/usr/lib/postgresql/17/bin

.PHONY: system-packages
system-packages:
	@missing=""; for pair in $(SYSTEM_PACKAGES); do \
	  PATH="$(SYSTEM_PATH)" command -v "$${pair%%:*}" > /dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  echo "Installing what tests talk to:$$missing ..."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing > /dev/null; } \
	    || echo "Not all of it could be installed: tests that need what is missing say so"; \
	  PATH="$(SYSTEM_PATH)" command -v docker > /dev/null \
	    || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-cli > /dev/null \
	    || echo "There is no docker command"; \
	else \
	  echo "Not installed, so that the tests that need them are skipped by name:$$missing"; \
	fi

lint: setup  ## Lint
	@$(BIN)/ruff check --quiet .

types: setup  ## Check types, strictly
	@$(BIN)/mypy --no-error-summary

contracts: setup  ## Check that imports go down only
	@$(BIN)/lint-imports --no-cache

format: setup  ## Format the code and mend what lint can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

audit: setup  ## Look for known holes and for licences that we may not use (MUST=1: the advisories have to be there)
	@$(BIN)/python -m tests.supply.audit $(if $(MUST),--must)

sbom: setup  ## List all that is used, with digests and licences (CycloneDX), into .local/sbom
	@$(BIN)/python -m tests.supply.bom .local/sbom

release: setup  ## Look at the tree, build it reproducibly with its lists and sums, and tag it (VERSION=1.2.3); uploads nothing
	@test -n "$(VERSION)" || { echo "Which one? make release VERSION=1.2.3"; exit 2; }
	@$(BIN)/python -m tests.supply.release $(VERSION)

lock: setup  ## Resolve the dependencies again and write requirements.lock
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --upgrade --quiet --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra image --universal --python-version 3.11 --generate-hashes --no-header --constraint requirements.lock --quiet --output-file deployments/image/requirements.lock

image: BASE ?= python:3.11-slim-bookworm
image: TAG ?= subnet
image:  ## Build the container image of all our processes (BASE=python@sha256:... pins what it stands on)
	@docker build --build-arg BASE=$(BASE) --file deployments/image/Dockerfile --tag $(TAG) .

clean:  ## Remove the environment and everything that a run has left
	@if [ -x $(BIN)/subnet ]; then $(BIN)/subnet down --quiet || true; fi
	@rm -rf $(VENV) .local .pytest_cache .hypothesis *.egg-info
	@find . -name __pycache__ -prune -exec rm -rf {} +
