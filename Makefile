# make demo   compile, run and learn a small model at every level
# make test   the tests that fit in minutes; make test-slow: those that CI runs besides;
#             make test-all: all of them
# make lint   format, lint and type checks
#
# The first run builds .venv from requirements.lock; later runs reuse it until the lock file
# or pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

# $(call require,COMMAND,SENTENCE): stop with one sentence when a command is missing.
require = command -v $(1) >/dev/null 2>&1 || { echo "echoloom: $(2)" >&2; exit 1; }

.PHONY: demo test test-slow test-all lint format lock clean distclean venv

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not long and not place_and_route" --durations=10

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not long and not place_and_route"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(call require,$(PYTHON),Python 3.11 or newer is missing; install it or name one with PYTHON=...)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "echoloom: $(PYTHON) is older than 3.11; name a newer one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "echoloom: $(PYTHON) has no venv module; on Debian or Ubuntu install python3-venv" >&2; exit 1; }
	@command -v "$${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || { \
	    echo "echoloom: a C++ compiler is missing; Verilator needs one, on Debian or Ubuntu install g++" >&2; exit 1; }
	@$(call require,perl,perl is missing; Verilator is started by it: on Debian or Ubuntu install perl)
	@echo "Installing the pinned packages into $(VENV) (minutes the first time) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Renews the pins; uv is wanted for this only, so it is fetched into a throw-away environment.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv
	build/lock/bin/uv pip compile pyproject.toml --extra demo --extra dev --upgrade \
	    --python-version 3.11 --prerelease disallow --no-annotate --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf build dist sim_build obj_dir .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
