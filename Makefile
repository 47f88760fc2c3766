# Every target is what continuous integration and README call. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
RUN_TIME := $(BIN)/.installed
DEVELOPMENT := $(BIN)/.installed-dev
PEERS := $(BIN)/.installed-peers

.PHONY: help demo test check bench bench-faults bench-gpt2 bench-race docs pictures notebooks schemas smoke oldest format clean
help:
	@echo "make demo    set up, examine a network that does not train, write report.html"
	@echo "make test    set up, run the tests"
	@echo "make check   format, lint, types, import contracts"
	@echo "make bench   set up the neighbours, measure all (QUICK=1: a fifth of it)"
	@echo "make format  put the code into form"

# Exit code 1 of thalweg means that something was found, which the demo network is there for.
demo: $(RUN_TIME)
	$(BIN)/thalweg examine thalweg.problems:deep_sigmoid_digits || [ $$? -eq 1 ]

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest -n 2 --doctest-modules src tests

check: $(DEVELOPMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes benchmarks/RESULTS.md and results.json; needs a quiet machine for 25 minutes (QUICK=1: 5).
bench: $(PEERS)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

# Time to a training loss of ours and of others: benchmarks/RACE.md (QUICK=1: in a few minutes), and
# the autoencoder of CURVES in minibatches: benchmarks/CURVES.md. Both need hours on a quiet machine.
bench-race: $(PEERS)
	$(BIN)/python -m benchmarks.race $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.race.curves $(if $(QUICK),--small --seconds 5 20)

# The documentation, in site/; a broken reference is an error.
docs: $(RUN_TIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The pictures of the documentation's method pages, drawn anew by thalweg.
pictures: $(DEVELOPMENT)
	$(BIN)/python docs/pictures.py

# Runs the course notebooks anew, from the scripts beside them.
notebooks: $(DEVELOPMENT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebooks]'
	$(BIN)/python examples/notebooks/render.py

# Seeded faults: benchmarks/FAULTS.md. Hours; what is done is kept in build/faults.jsonl.
bench-faults: $(RUN_TIME)
	$(BIN)/python -m benchmarks.faults --half both

# The same readings of a transformer of GPT-2's size on an accelerator, small where there is none.
bench-gpt2: $(RUN_TIME)
	$(BIN)/python -m benchmarks.gpt2

# Wheel and sdist, built and installed into an empty environment.
smoke: $(DEVELOPMENT)
	$(BIN)/python tests/release/smoke.py

# The tests on the oldest versions that are declared, in an environment of its own. Where PyPI's torch
# would bring CUDA along, say which index has it without:
# make oldest PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
oldest: constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[dev]'
	.venv-oldest/bin/python -m pytest tests

# The published schemas, from the types of the results; a test compares them.
schemas: $(RUN_TIME)
	for command in examine spectrum signal critical escape landscape compare flow worked derive check; do \
	  $(BIN)/thalweg schema $$command > src/thalweg/schemas/$$command.json || exit 1; done

format: $(DEVELOPMENT)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build

$(RUN_TIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEVELOPMENT): $(RUN_TIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# constraints.txt holds torch where it is: no neighbour brings another.
$(PEERS): $(RUN_TIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $@
