# Two commands: `make demo` and `make test`. Everything they need is installed into .venv by `make setup`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test browser accept lint types clean

setup: $(STAMP)

# torch first and pinned: where the index offers a CPU build of this version, nothing replaces it afterwards.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Headstart needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one with make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fast,audit,adapt,multitask]'
	@touch $(STAMP)

demo: setup
	$(BIN)/headstart demo

# Two processes of one thread each: most tests are too small to keep two threads busy.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not accept and not browser"

browser: setup
	$(BIN)/python -m pytest -m browser

accept: setup
	$(BIN)/python -m pytest -m accept -s tests/accept

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
