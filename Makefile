# Two commands are all that is needed: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RLLIB := .venv-rllib
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --quiet
TAPE ?=
PARTS ?=
TORCH := 2.13.0
# A local wheel folder (PIP_FIND_LINKS) is honoured; otherwise uv picks the CPU build of torch.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
else
export UV_TORCH_BACKEND ?= cpu
endif

.PHONY: help demo test test-all test-rllib lint types format benchmark benchmark-compare constraints clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 15) else f"hftgym needs Python 3.11 to 3.14; $(PYTHON) is {v.major}.{v.minor}. Try: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu run: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@# A yardstick of the slow tests; it asks for an older numba than it needs, and has wheels for some Pythons only.
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --only-binary :all: hftbacktest==2.4.4 \
	  || echo "hftbacktest has no wheel for this Python: the test against it will be skipped"
	@touch $@

demo: $(STAMP)  ## train, export, evaluate and plot everything into runs/demo (TAPE=file adds recorded ticks)
	@$(BIN)/python scripts/demo.py $(if $(TAPE),--tape $(TAPE))

test: lint types  ## lint, types and the quick tests
	@$(PYTEST)

test-all: lint types  ## lint, types and every test, the slow ones included
	@$(PYTEST) -m "slow or not slow"

# RLlib pins an older Gymnasium: an environment of its own.
$(RLLIB)/.installed: pyproject.toml constraints.txt
	@echo "Setting up $(RLLIB) (once) ..."
	@$(PYTHON) -m venv $(RLLIB)
	@$(RLLIB)/bin/python -m pip install -q --disable-pip-version-check uv
	@grep -v '^gymnasium==' constraints.txt > $(RLLIB)/constraints.txt
	@$(RLLIB)/bin/uv pip install -q --python $(RLLIB)/bin/python -c $(RLLIB)/constraints.txt -e '.[rllib]' 'pytest>=8' 'hypothesis>=6.100'
	@touch $@

test-rllib: $(RLLIB)/.installed  ## the tests of training through RLlib, in an environment of its own
	@$(RLLIB)/bin/python -m pytest --quiet -m "slow or not slow" tests/rllib

lint: $(STAMP)  ## ruff: rules and format
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && echo "lint: clean"

types: $(STAMP)  ## static types
	@$(BIN)/basedpyright --level error && echo "types: clean"

format: $(STAMP)  ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

benchmark: $(STAMP)  ## measure every speed and quality bar again, into BENCHMARKS.md (half an hour; PARTS="batch zscore" for some)
	@$(BIN)/python scripts/benchmark.py --keep $(PARTS)

benchmark-compare: $(STAMP)  ## say what got worse since the figures that were kept (PARTS= as above)
	@$(BIN)/python scripts/benchmark.py --compare $(PARTS)

constraints: $(STAMP)  ## pin the newest tested versions again
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --no-annotate --no-header --no-emit-package torch pyproject.toml \
	  | grep -vE '^((nvidia|cuda)-[a-z0-9-]+|triton)(==|\[)|^ ' > constraints.tmp && echo 'torch==$(TORCH)' >> constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## remove the environment and everything that runs wrote
	rm -rf $(VENV) $(RLLIB) runs .pytest_cache .ruff_cache .hypothesis
