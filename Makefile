# make run   install what is missing and start the app on 127.0.0.1:7860
# make test  install what is missing and run every test
# make demo  edit the first example without the app

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that share the tests out by file; each loads its own models, about 2 GB.
WORKERS ?= 2

.PHONY: run test demo lint lint-scripts

run: $(VENV)/.installed
	$(BIN)/python app.py

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

demo: $(VENV)/.installed
	$(BIN)/python -m editing run assets/examples/01_two_animals -o out/demo

lint: $(VENV)/.installed-dev
	mkdir -p build/typing/regrain
	ln -sfn $(addprefix $(CURDIR)/,editing masks ui regrain/__init__.py regrain/__main__.py) build/typing/regrain/
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright
	if command -v npm >/dev/null; then $(MAKE) lint-scripts; fi

lint-scripts: node_modules/.installed
	npx eslint ui tests/ui/js && npx prettier --check ui/js tests/ui/js

node_modules/.installed: package.json
	npm install --no-audit --no-fund --no-package-lock
	touch $@

$(VENV)/.installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --group dev
	touch $@
