# One word for each developer act. The first command that needs it makes $(VENV) and installs into it;
# a later one costs nothing until pyproject.toml or constraints.txt changes.

VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python

# A PYTHON that was named is the one that is used; otherwise the first that is new enough.
INTERPRETERS := $(if $(filter file,$(origin PYTHON)),$(PYTHON) python3.13 python3.12 python3.11 python3.14,$(PYTHON))
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# In the environment, so that the build of the package itself is held to the same versions.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL := $(RUN) -m pip install -qq

.DEFAULT_GOAL := help
.PHONY: help install format lint types layers test bench check once git

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.dev ## make .venv with everything a developer needs

format: $(VENV)/.dev ## rewrite the code in the project's format
	@$(RUN) -m ruff check --quiet --select I --fix .
	@$(RUN) -m ruff format .

lint: $(VENV)/.dev ## check format and rules with ruff
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .

types: $(VENV)/.dev ## check types with mypy
	@$(RUN) -m mypy

layers: $(VENV)/.dev ## check with import-linter that imports go down only
	@$(VENV)/bin/lint-imports --no-logo --no-cache

test: git $(VENV)/.dev ## run the tests and measure what they cover
	@$(RUN) -m pytest -n auto --cov

bench: $(VENV)/.bench ## measure speed beside the peers; takes minutes
	@$(RUN) -m bench

check: lint types layers test ## all of the above that must pass before a commit: lint, types, layers, test

once: $(VENV)/.runtime ## set up, collect once, store, and print what an agent reads
	@$(RUN) -m orchestrator once

$(VENV)/.runtime: pyproject.toml constraints.txt
	@if ! $(RUN) -c '$(NEW_ENOUGH)' 2>/dev/null || ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	  python=; \
	  for candidate in $(INTERPRETERS); do \
	    if "$$candidate" -c '$(NEW_ENOUGH)' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "No Python 3.11 or newer among: $(INTERPRETERS). Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	  fi; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "$$python cannot make a virtual environment: ensurepip is missing. Install it (Debian, Ubuntu: apt-get install python3-venv, or python$$version-venv where several Pythons are installed) and try again." >&2; exit 1; \
	  fi; \
	  echo "Setting up $(VENV) with $$("$$python" --version) ..." >&2; \
	  "$$python" -m venv --clear "$(VENV)" || { \
	    echo "$$python could not make $(VENV): its own words are above. Is there room and permission to write here?" >&2; exit 1; }; \
	fi
	@$(INSTALL) --editable . || { \
	  echo "The packages could not be installed: pip's own words are above. Is the network there?" >&2; exit 1; }
	@touch $@

# Dependency groups need a newer pip than Python 3.11 brings.
$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the tools of development ..." >&2
	@$(INSTALL) pip && $(INSTALL) --group dev || { \
	  echo "The tools could not be installed: pip's own words are above. Is the network there?" >&2; exit 1; }
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(INSTALL) --group bench || { \
	  echo "The peers could not be installed: pip's own words are above. Is the network there?" >&2; exit 1; }
	@touch $@

git:
	@command -v git >/dev/null || { \
	  echo "git is missing, and the tests ask it what is ignored. Install it (Debian, Ubuntu: apt-get install git)." >&2; exit 1; }
