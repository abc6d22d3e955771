# `make demo` and `make test` are all that a newcomer needs; both set up what they use in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" --group build
SOURCES := servedeck tui widgets styles tests benchmarks docs .ci

.PHONY: demo test test-real lint types imports check bench pictures keys manifests lock clean

demo: $(VENV)/.run
	$(BIN)/servedeck --demo

test: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist loadgroup

test-real: $(VENV)/.dev  ## tests on a real control plane, found through KUBEBUILDER_ASSETS, and a real Valkey
	SERVEDECK_REQUIRE_SERVERS=1 $(BIN)/python .ci/rerun_failed.py $(ARGS) $(or $(TESTS),tests/control_plane tests/contract tests/gateway)

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

check: lint types imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

pictures: $(VENV)/.dev  ## update the stored screenshots and the one in the README
	$(BIN)/pytest tests/tui tests/widgets --snapshot-update -q -n auto
	$(BIN)/python docs/make_screenshot.py docs/pictures/servings.svg

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "servedeck needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "could not make a virtual environment; on Debian: apt install python3-venv"; exit 1; }

# The versions that were tested, with their hashes; then this package itself, which needs no more.
$(VENV)/.run: $(BIN)/python pyproject.toml requirements.lock
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml requirements-dev.lock
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

keys: $(VENV)/.dev  ## docs/keys.md from the code: action IDs, columns, themes
	$(BIN)/python docs/make_keys.py

manifests: $(VENV)/.dev  ## deploy/gateway/gateway.yaml from the code that makes it
	$(BIN)/python deploy/gateway/make_manifests.py

lock: $(BIN)/python  ## the lock files after a change in pyproject.toml; ARGS=--upgrade for new versions
	$(PIP) uv
	$(LOCK) pyproject.toml --extra dev -o requirements-dev.lock $(ARGS)
	$(LOCK) pyproject.toml -c requirements-dev.lock -o requirements.lock $(ARGS)
	$(LOCK) --group gateway -c requirements-dev.lock -o deploy/gateway/requirements.lock $(ARGS)

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
