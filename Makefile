# make run   install what is missing and start the app on 127.0.0.1:7860
# make test  install what is missing and run the quick tests: at most 5 minutes
# make test-full, make test-all  run the other tests, or all of them: 15 minutes
# make test-processors  run what once held on some processors alone, on kernels that round otherwise
# make demo  edit the first example without the app
# make oldest, make newest   run the tests without a browser on the oldest and newest versions that pyproject.toml allows
# make lock  choose all versions anew that requirements.txt leaves open

PYTHON ?= python3
# Another interpreter, as in `make test PYTHON=python3.13`, has an environment of its own.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
# What was installed is of no use without its interpreter, which may have been removed or replaced.
$(shell test ! -e $(VENV) || $(BIN)/python -c "" 2>/dev/null || rm -f $(VENV)/.installed $(VENV)/.installed-dev)
# Processes that share the tests out by file; each loads its own models, about 2 GB.
WORKERS ?= 2

PYTEST := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: run test test-full test-all test-processors demo lint lint-scripts oldest newest lock

run: $(VENV)/.installed
	$(BIN)/python app.py

test: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST) -m "not full"

test-full: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST) -m full

test-all: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST)

# PyTorch without AVX: the setting under which each test of runs that was red on some processor was red here.
test-processors: $(VENV)/.installed-dev
	ATEN_CPU_CAPABILITY=default $(BIN)/python $(PYTEST) -m processors

demo: $(VENV)/.installed
	$(BIN)/python -m editing run assets/examples/01_two_animals -o out/demo

oldest: RESOLUTION := lowest-direct
newest: RESOLUTION := highest
oldest newest: $(VENV)/.installed
	$(BIN)/uv venv --quiet --seed --allow-existing --python $(PYTHON) build/$@
	$(BIN)/uv pip install --python build/$@/bin/python --resolution $(RESOLUTION) -r pyproject.toml --extra mcp --group dev
	build/$@/bin/python $(PYTEST) -m "not browser"

lock: $(VENV)/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate -o requirements.lock requirements.txt

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m tests.style.density
	$(BIN)/python -m pytest -q -n 0 tests/style
	if command -v npm >/dev/null; then $(MAKE) lint-scripts; fi

lint-scripts: node_modules/.installed
	npx eslint ui tests/ui/js && npx prettier --check ui/js "ui/*.css" tests/ui/js && npx tsc

node_modules/.installed: package.json
	npm install --no-audit --no-fund --no-package-lock
	touch $@

$(VENV)/.installed: requirements.txt requirements.lock
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -r requirements.txt -c requirements.lock
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --group dev
	touch $@
