# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := --model.width 0.125 --steps 800 --batch 16 --seed 0

.PHONY: demo test test-slow check setup clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secateur needs Python 3.11 or later; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

demo: $(READY)
	$(BIN)/secateur train dense $(DEMO) --out runs/demo/dense
	$(BIN)/secateur train adapmtl $(DEMO) --method.density 0.1 --out runs/demo/adapmtl

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --slow

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis
