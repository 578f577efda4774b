# Two commands matter: `make demo` and `make test`. Everything installs into .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check fix bench soak clean

demo: $(STAMP)-demo
	@$(BIN)/python -m sextant.cli.demo --out demo

test: $(STAMP)-test
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile tests/unit
	$(BIN)/python -m pytest -m "not soak" --ignore=tests/unit

check: $(STAMP)-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit --ignore=tests/unit/test_probe.py

fix: $(STAMP)-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)-test .venv-peers/.stamp
	$(BIN)/python -m benchmarks

soak: $(STAMP)-test .venv-peers/.stamp
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m benchmarks --soak

clean:
	rm -rf .venv .venv-peers demo

$(STAMP)-venv:
	$(PYTHON) -m venv .venv
	@touch $@

$(STAMP)-demo: $(STAMP)-venv pyproject.toml
	@echo "installing what the demo needs; the first time takes about two minutes"
	$(BIN)/pip install --quiet --editable '.[rag]'
	$(BIN)/python -m compileall -q src
	@touch $@

# TorchRec's own requirement pulls the CUDA build of fbgemm, so both come without dependencies.
$(STAMP)-test: $(STAMP)-demo requirements/torchrec.txt
	$(BIN)/pip install --quiet --editable '.[rag,recommender,pretraining,swarm,federated,bench,dev]'
	$(BIN)/pip install --quiet --no-deps --requirement requirements/torchrec.txt
	$(BIN)/python -m compileall -q src
	@touch $@

# Vector stores that the benchmarks stand beside: their servers and pins are not for the product's
# own environment. A benchmark goes on without one that does not install.
.venv-peers/.stamp: requirements/peers.txt
	$(PYTHON) -m venv .venv-peers
	while read -r peer; do \
		.venv-peers/bin/pip install --quiet "$$peer" || echo "without $$peer"; done < $<
	@touch $@
