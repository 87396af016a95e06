# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Exact versions known to work; `make setup LOCK=` takes the newest that pyproject.toml allows instead.
LOCK ?= lock.txt
# Processes that run the tests: a number, or `auto` for one a core.
JOBS ?= auto
# One thread a process. Bytecode is kept also where the environment says not to: each process that tests start would compile the package anew.
QUICK := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
TEST := -m pytest --numprocesses $(JOBS) --maxprocesses 8 --dist worksteal
DEMO := --model.width 0.125 --steps 800 --batch 16 --seed 0

.PHONY: demo test test-runtime test-slow test-newest test-oldest check docs docs-links setup lock python clean

setup: $(READY)

python:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not installed; secateur needs Python 3.11 or later; run: make PYTHON=path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secateur needs Python 3.11 or later; run: make PYTHON=python3.11 ...")'

# $(call environment,its folder,options of pip): everything that development needs; an old pip is too old for groups.
define environment
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --quiet --upgrade $(2) "pip>=25.3"
$(1)/bin/python -m pip install --quiet $(2) $(if $(2),--build-constraint $(lastword $(2))) --editable . --group dev
$(1)/bin/python -m pip install --quiet $(2) $(if $(2),--build-constraint $(lastword $(2))) ./runtime
endef

$(READY): pyproject.toml $(LOCK) $(wildcard runtime/native/*.* runtime/native/*/* runtime/*.py runtime/pyproject.toml runtime/src/*/*.py) | python
	$(call environment,$(VENV),$(addprefix --constraint ,$(LOCK))) \
		|| { $(if $(LOCK),echo "Not installed. Where $(LOCK) names what this machine cannot have: make setup LOCK=" >&2;) exit 1; }
	touch $@

# The group dev has every extra that is locked. Of every version for all Pythons and for Linux and macOS. uv does not read pip's configuration: its limits are passed on.
RESOLVE = $(BIN)/uv pip compile --quiet --no-header --no-annotate pyproject.toml --group dev --group docs --group install \
	$(addprefix --constraint ,$(shell $(BIN)/python -m pip config list 2> /dev/null | sed -n "s/^global.constraint='\(.*\)'/\1/p"))

lock: $(READY)
	$(RESOLVE) --universal --python-version 3.11 --fork-strategy fewest --upgrade --output-file lock.txt

demo: $(READY)
	$(BIN)/secateur train dense $(DEMO) --out runs/demo/dense
	$(BIN)/secateur train adapmtl $(DEMO) --method.density 0.1 --bench always --out runs/demo/adapmtl

test: $(READY) test-runtime
	$(QUICK) $(BIN)/python $(TEST)

# The provider for ONNX Runtime as it is installed.
test-runtime: $(READY)
	cd runtime && $(QUICK) ../$(BIN)/python -m pytest -q tests

test-slow: $(READY)
	$(QUICK) $(BIN)/python $(TEST) --slow

# On the newest of everything that pyproject.toml allows.
test-newest: python
	rm -rf .venv-newest
	$(call environment,.venv-newest,)
	$(QUICK) .venv-newest/bin/python $(TEST)

# On the oldest: the lower bounds of pyproject.toml themselves, and what they need as new as it may be.
test-oldest: $(READY)
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(RESOLVE) --resolution lowest-direct --python $(BIN)/python --output-file .venv-oldest/oldest.txt
	$(call environment,.venv-oldest,--constraint .venv-oldest/oldest.txt)
	$(QUICK) .venv-oldest/bin/python $(TEST)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# The site, in build/docs; any warning is an error. Tutorials run, again only where they or the package have changed.
SPHINX = $(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -c docs/site -d build/doctrees docs

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet $(addprefix --constraint ,$(LOCK)) --group docs
	touch $@

docs: $(VENV)/.docs
	$(SPHINX) -b html build/docs

# The links that lead outside; needs a network.
docs-links: $(VENV)/.docs
	SECATEUR_NOTEBOOKS=off $(SPHINX) -b linkcheck build/links

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest build runs .pytest_cache .ruff_cache .hypothesis
