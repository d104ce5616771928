# Turnout: each target sets up what it needs; a machine with python3 (3.11 or newer, with venv), make and git is enough.
# The environment is .venv, installed again when pyproject.toml or constraints.txt has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ARGS ?=
JOBS ?= 3
CLIENTS_S ?= 35
VENV := .venv
# setuptools warns of every editable installation, however it is asked for.
PIP_INSTALL = PYTHONWARNINGS='ignore:Editable installation' \
  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# `make check BIN=/some/venv/bin` uses an environment of your own, which has '.[dev]', and installs nothing.
ifeq ($(origin BIN),command line)
DEMO_READY :=
DEV_READY :=
CLIENTS_READY :=
else
BIN := $(VENV)/bin
DEMO_READY := $(VENV)/.installed-demo
DEV_READY := $(VENV)/.installed-dev
CLIENTS_READY := $(VENV)/.installed-clients
endif
export PATH := $(abspath $(BIN)):$(PATH)
# Hundreds of processes are started here: each would compile all that it loads anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-17s %s\n", $$1, $$2}'

# --- the environment ---

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo 'Turnout needs python3, 3.11 or newer.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Turnout needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'This Python has no venv. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25'  # Debian's is years older
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing Turnout with its server, trainer and demo into $(VENV); the first time takes a minute or two'
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing Turnout with its development tools into $(VENV); the first time takes a minute or two'
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed-demo $@

# The stock clients that tests talk through, in an environment of their own; tests skip them where there are none.
$(VENV)/.installed-clients: $(DEV_READY) tests/gateway/inference/clients/requirements.txt
	@$(BIN)/python tools/stock_clients.py >/dev/null || [ $$? = 75 ]
	@touch $@

.PHONY: install
install: $(DEV_READY)  ## Install everything into .venv

# --- to see it run ---

.PHONY: demo bench bench-peers soak
demo: $(DEMO_READY)  ## Run the whole loop on a year of real flights (ARGS='--json FILE' go to `turnout demo`)
	@$(BIN)/turnout demo $(ARGS)

bench: $(DEV_READY)  ## Measure Predict against floors of the same run (ARGS go to the benchmark)
	@$(BIN)/python bench/run.py $(ARGS)

bench-peers: $(DEV_READY)  ## Measure other model servers under the same load; installs each from PyPI into a cache folder
	@$(BIN)/python bench/peers/run.py $(ARGS)

soak: $(DEV_READY)  ## Run the long form of the proofs; takes hours
	$(BIN)/python -m pytest -m soak --timeout=14400 $(ARGS)

# --- to read it ---

.PHONY: docs
docs: $(DEV_READY)  ## Make the site of the documents and the reference: build/site, which opens without a network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo 'build/site/index.html'

# --- to change it: what is fast comes first ---

.PHONY: test check check-format check-lint check-protos check-generated check-dockerfile check-imports check-types \
  check-clients tests clients
test: check  ## Run everything that must hold before a change lands: all of `make check`

# Much of each is one processor's: side by side they take half the time. The tests come last, alone.
CHECKS := check-format check-lint check-protos check-dockerfile check-imports check-generated check-types check-clients
check: $(DEV_READY)  ## Format, lint, protos, Dockerfile, imports, generated code, types, clients, tests
	@$(MAKE) --jobs=3 --output-sync=target $(CHECKS) $(CLIENTS_READY)
	@$(MAKE) tests

check-format: $(DEV_READY)  ## Is the code formatted?
	$(BIN)/ruff format --check --quiet .

check-lint: $(DEV_READY)  ## Does the linter find anything?
	$(BIN)/ruff check --quiet .

check-protos: $(DEV_READY)  ## Is the contract clean, and compatible with the last release?
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against protos/released.binpb
	$(BIN)/python tools/check_contract.py

check-generated: $(DEV_READY)  ## Is what is committed what would be generated?
	$(BIN)/python tools/check_generated.py

check-dockerfile: $(DEV_READY)  ## Is the Dockerfile sound?
	$(BIN)/hadolint Dockerfile

check-imports: $(DEV_READY)  ## Do imports go one way?
	$(BIN)/lint-imports --no-cache

check-types: $(DEV_READY)  ## Do the types hold?
	$(BIN)/mypy
	$(BIN)/mypy --strict examples/client.py examples/first_prediction.py

check-clients: $(DEV_READY)  ## Do the clients of other languages build? Those that are not done within CLIENTS_S are skipped
	$(BIN)/python tools/clients.py --seconds $(CLIENTS_S)

clients: $(DEV_READY)  ## Build and test the clients whose toolchain is found, and run them against live gateways
	$(BIN)/python tools/clients.py $(ARGS)
	$(BIN)/python -m pytest tests/gateway/clients tests/rest/test_elsewhere.py tests/rest/test_in_browser.py

tests: $(DEV_READY) $(CLIENTS_READY)  ## Run the tests alone, JOBS=3 files side by side (ARGS go to pytest)
	$(BIN)/python -m pytest -m 'not soak' --numprocesses $(JOBS) $(ARGS)

.PHONY: format generate release-image constraints
format: $(DEV_READY)  ## Format the code and the contract, fix what can be fixed
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/buf format --write

generate: $(DEV_READY)  ## Write what is generated anew, after a change of protos/, of the settings or of what HTTP takes
	$(BIN)/buf generate
	$(BIN)/python tools/write_settings.py
	$(BIN)/python tools/write_openapi.py

release-image: $(DEV_READY)  ## At a release, and only then: make today's contract what `buf breaking` compares with
	$(BIN)/buf build --exclude-source-info --output protos/released.binpb

constraints: $(DEV_READY)  ## After an upgrade that passed `make test`: write down the versions that it passed with
	$(BIN)/python tools/write_constraints.py
