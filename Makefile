.PHONY: train test check lint self-check setup image clean

PY := .venv/bin/python

train: setup  ## Run the loop with its defaults; ARGS="--rounds 3" passes more
	@$(PY) -m srs.train --rounds 10 $(ARGS)

test: setup  ## Run the tests, a file per process; ARGS="tests/srs -k resume" passes more
	@$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint test  ## Format, lint, types, tests: what CI runs

lint: setup  ## Format, lint, types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m mypy scripts/*.py

self-check: setup  ## Attack this machine's sandbox; ARGS="--sandbox process" passes more
	@$(PY) -m sandbox.self_check $(ARGS)

setup:  ## Bring .venv to the lock of this machine's accelerator; ACCELERATOR=cpu|cuda|ascend overrides
	@scripts/setup.sh
	@if docker info >/dev/null 2>&1; then $(PY) -m sandbox.image || \
	  echo "setup: no Docker image, so 'auto' will take the process sandbox"; fi

image: setup  ## Build the Docker image that candidates run in
	@$(PY) -m sandbox.image

clean:  ## Remove .venv and caches; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
