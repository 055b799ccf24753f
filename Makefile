# Everything here needs only Python 3.11 or later, make, and a package registry.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GOOGLE_TESTS := tests/engine/test_google.py tests/testing/test_google_sdk.py \
	tests/testing/test_genai_embeddings.py tests/providers/test_sdk_errors.py
# The theme prints a notice about its future at every build.
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test test-google-2 bench soak docs clean

demo: $(STAMP)  ## the pool at work on the simulator, live
	@$(BIN)/python -m llm_rotate.cli demo

test: $(STAMP)  ## lint, types, tests, docs and every example in them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(BIN)/mkdocs build --strict --quiet --site-dir $(VENV)/site

test-google-2: $(STAMP)  ## Gemini's tests with the SDK's major before the current one
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/google-2 'google-genai>=2,<3'
	PYTHONPATH=$(VENV)/google-2 $(BIN)/python -c 'import google.genai as sdk; print("google-genai", sdk.__version__)'
	PYTHONPATH=$(VENV)/google-2 $(BIN)/python -m pytest -q $(GOOGLE_TESTS)

bench: $(STAMP)  ## the tables of ratios; others' packages go into .venv-peers
	$(BIN)/python -m tests.benchmarks

soak: $(STAMP)  ## the long runs
	$(BIN)/python -m pytest tests/soak --timeout 3600 -s

docs: $(STAMP)  ## read the documentation on a local port
	$(BIN)/mkdocs serve

$(STAMP): pyproject.toml
	@echo "installing into $(VENV), once: a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --group dev --editable '.[yaml,cli,prices,fast,redis,bedrock,google,azure,tiktoken,keyring,aws,gcp,vault,tables,plot,progress]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers .mypy_cache .pytest_cache .ruff_cache .hypothesis site
