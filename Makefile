# Two commands matter on a fresh machine: `make demo` and `make test`. Both need a Python from 3.10 to 3.13 and, the first
# time, a network: they make the environment in .venv, install what requirements.lock pins, then the project itself.
# The lock is for Python 3.11, which is taken where it is there; on another, setup.cfg's ranges are resolved anew.

# A Python that can make environments (Debian keeps that apart, in python3.11-venv). To choose: make PYTHON=/path/to/python3.12 …
IS_USABLE := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.13 python3.12 python3.10 python3 python; do \
	if $$p -c '$(IS_USABLE)' >/dev/null 2>&1; then echo $$p; break; fi; done)
# What is installed without the lock: all extras but `peel`, whose packages are for a few Pythons alone.
UNLOCKED := casacore,casa,cluster,regions,epochs,bayes,test,docs
# Pythons of `make test-pythons`, those of them that are there as python3.10 …
PYTHONS ?= 3.10 3.12 3.13
FOUND = $(foreach v,$(PYTHONS),$(shell python$(v) -c '$(IS_USABLE)' >/dev/null 2>&1 && echo $(v)))
# Only for `make lock`: the resolver uv.
UV ?= uv
LOCK_ARGS ?=
# Tests that run at once. One more needs about 2 GB of memory.
JOBS ?= 2
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# What the pages of the cutout server load, from the packages of npm that viewer/package-lock.json pins.
VIEWER := uvstack/epochs/server/static/viewer/ol.js
NPM ?= npm
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install viewer try-viewer demo test test-pythons bench lint docs dist lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1	\2/' | expand -t 20

install: $(INSTALLED) try-viewer ## environment in .venv, with everything pinned and the project editable

viewer: $(VIEWER) ## the viewer of the cutout server's pages, from npm; without it they show pictures

try-viewer:
	@test -f $(VIEWER) || $(MAKE) --no-print-directory viewer || echo "The viewer is not there: the cutout server's pages show pictures alone" >&2

demo: install ## simulate a small data set and stack sources far below its noise; results in demo/
	$(BIN)/uvstack demo --out demo --overwrite

test: install ## all tests; PYTEST_ARGS="-k beam" for some
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-pythons: ## a short subset on Python 3.10, 3.12 and 3.13, as many as are there, each in .venv-3.x
	@test -n "$(strip $(FOUND))" || { echo "Wanted: one of $(PYTHONS:%=python%); found: none. Name others with make PYTHONS=\"3.12 3.13\"" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(FOUND:%=.venv-%/.installed)
	@set -e; for v in $(PYTHONS); do case " $(FOUND) " in \
		*" $$v "*) echo "== Python $$v"; .venv-$$v/bin/python -m pytest -q tests/test_pythons.py;; \
		*) echo "== Python $$v: not found, not tested";; esac; done

bench: install ## every benchmark, one table each
	@set -e; for script in scripts/bench_*.py; do \
		test -f "$$script" || { echo "scripts/ holds no bench_*.py" >&2; exit 1; }; \
		echo "== $$script"; $(BIN)/python "$$script"; done

lint: install ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install ## documentation as pages, in site/; runs the notebook of a first stack
	JUPYTER_PLATFORM_DIRS=1 $(BIN)/python -m nbconvert --log-level ERROR --execute --to markdown docs/first_stack.ipynb
	$(BIN)/mkdocs build --strict --quiet

dist: install viewer ## wheel and source distribution, in dist/
	rm -rf build dist
	$(BIN)/python -m build --no-isolation --outdir dist .

lock: ## pin all of setup.cfg again; pins that still fit stay. Anew: make lock LOCK_ARGS=--upgrade
	$(UV) pip compile --quiet --python-version 3.11 --all-extras --custom-compile-command "make lock" $(LOCK_ARGS) \
		--output-file requirements.lock setup.cfg

$(VIEWER): viewer/package.json viewer/package-lock.json viewer/.npmrc scripts/take_viewer.py | $(INSTALLED)
	@command -v $(NPM) >/dev/null || { echo "Wanted: npm, to fetch the viewer; found: none. Install it (on Debian: npm), or name one with make NPM=/path/to/npm" >&2; exit 1; }
	cd viewer && $(NPM) ci --silent
	$(BIN)/python scripts/take_viewer.py
	@touch $@

clean: ## remove what was built and the caches, not .venv
	rm -rf build dist site demo bench viewer/node_modules docs/first_stack.md docs/first_stack_files *.egg-info .pytest_cache .ruff_cache .mypy_cache casa-*.log
	find uvstack simulate peel tests scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A failed or interrupted installation leaves no stamp, so the next run takes it up again.
$(LOCKED): requirements.lock
	@$(if $(PYTHON),$(PYTHON),false) -c '$(IS_USABLE)' 2>/dev/null || { echo "Wanted: Python 3.10 to 3.13 with venv and ensurepip;" \
		"found: $(or $(PYTHON),none among python3.10 … python3.13 python3 python). Install one (on Debian: python3.11 and" \
		"python3.11-venv), or name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
		echo "Installing what requirements.lock pins"; \
		$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock; \
	else \
		echo "$$($(BIN)/python -V): requirements.lock is for Python 3.11, so the newest packages that setup.cfg allows are installed"; \
		$(BIN)/python -m pip install --quiet 'setuptools>=77' --editable '.[$(UNLOCKED)]'; \
	fi
	@touch $@

# A new top-level package changes what the editable installation points at.
$(INSTALLED): $(LOCKED) setup.cfg pyproject.toml uvstack/_version.py $(wildcard */__init__.py)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-%/.installed: setup.cfg pyproject.toml uvstack/_version.py
	python$* -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --editable '.[casacore,casa]' pytest || { \
		echo "Python $*: casatools cannot be installed, only python-casacore is tested" >&2; \
		.venv-$*/bin/python -m pip install --quiet --editable '.[casacore]' pytest; }
	@touch $@
