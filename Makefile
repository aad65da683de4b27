# Three commands do everything on a fresh machine: `make train`, `make test` and `make benchmark`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CONFIG ?= tuned_examples/quickstart.yaml

.PHONY: train test test-all benchmark test-ray lint docs install clean

train: install
	$(BIN)/rllib train file $(CONFIG) --evaluate $(ARGS)

test: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)  # each process has a Ray cluster of its own

# All tests, also those that train for minutes or need a browser or a GPU. A test is skipped, with the reason, where its
# GPU, browser or library is missing.
test-all: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[panda,dm-control,robotics,metaworld,ogbench,data,report,search,onnx,browser,dev]'
	$(BIN)/python -m pytest -m '' $(ARGS)

# `make benchmark SUITE=quick`: trains, evaluates and reports; again, it goes on where it was interrupted.
SUITE         ?= quick
BENCHMARK_OUT ?= results/benchmark-$(SUITE)

benchmark: install
	$(BIN)/python -m benchmarks.learning run $(SUITE) --out $(BENCHMARK_OUT) $(ARGS)

# `make test-ray RAY=2.59.0`: the fast tests of what touches RLlib on another release of Ray, in an environment of its
# own. Everything is installed as pinned first, then what that release needs otherwise.
RAY_VENV  = .venv-ray-$(RAY)
RAY_TESTS ?= tests/adapters -m 'not slow and not learning and not gpu and not repeated'

test-ray:
	@test -n "$(RAY)" || { echo "Which release of Ray? For example: make test-ray RAY=2.59.0"; exit 2; }
	test -x $(RAY_VENV)/bin/python || $(PYTHON) -m venv $(RAY_VENV)
	test -f $(RAY_VENV)/.installed || $(RAY_VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[report,dev]'
	test -f $(RAY_VENV)/.installed || $(RAY_VENV)/bin/pip install --quiet 'ray[rllib,tune]==$(RAY)'
	touch $(RAY_VENV)/.installed
	$(RAY_VENV)/bin/python -m pytest $(RAY_TESTS) $(ARGS)

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy rllib_sami rllib_sami_cli && $(BIN)/mypy envs
	PYTHON=$(abspath $(BIN))/python .ci/lint-imports

docs: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/settings.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[panda,dm-control,robotics,metaworld,ogbench,data,report,search,onnx,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-ray-* build *.egg-info
