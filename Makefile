# Needs: Python 3.11-3.13. Everything else is installed into $(VENV) by .ci/setup.
# ARGS is passed on: make test ARGS="tests/cli -q", make bench ARGS="--rounds 5", ...
VENV ?= .venv
ARGS ?=
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test lint format bench bench-rivals install clean

demo: install
	@$(BIN)/python docs/examples/demo.py $(ARGS)

# With compiled modules kept, whatever the shell says: a hundred tests start nodes, and each would
# compile them all again.
test: install
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

# Downloads the rivals of the bench into ~/.cache/mirrornode-bench; `bench` itself downloads nothing.
bench-rivals: install
	@PYTHONPATH=tests $(BIN)/python -m bench.install_rivals

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml .ci/setup
	@.ci/setup $(VENV)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .import_linter_cache
