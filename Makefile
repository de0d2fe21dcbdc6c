# `make demo` and `make test` begin from a clean checkout: they need only python3 (3.11 or newer) and a package index.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# PyTorch's own index of builds without CUDA, as its documentation names it.
CPU_INDEX = https://download.pytorch.org/whl/cpu
TRACED = tests/engine tests/processing tests/invariants tests/inference/test_prompts.py tests/inference/test_inputs.py

.PHONY: demo test chromium test-fast test-native test-coverage test-others test-packages prove prove-list check format docs docs-serve clean

demo: .venv/core.stamp
	.venv/bin/python examples/demo.py

test: .venv/dev.stamp
	.venv/bin/python -m pytest

# Debian's browser, which the tests of the page drive; where it cannot be installed they skip, and say so.
chromium:
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# Half a minute: tests/fast.txt names them. What starts processes, trains or compares with transformers is not in it.
test-fast: .venv/dev.stamp
	.venv/bin/python -m pytest @tests/fast.txt

# The kernels' tests on portable C, and on a build that ends at undefined behaviour.
test-native: .venv/dev.stamp
	.venv/bin/python -m tests.kernels.builds

# Fails below the floor in pyproject.toml. A run of its own: tracing makes tests a third slower.
test-coverage: .venv/dev.stamp
	.venv/bin/python -m pytest -q $(TRACED) --cov

# All tests that test-coverage does not run.
test-others: .venv/dev.stamp
	.venv/bin/python -m pytest $(addprefix --ignore=,$(TRACED))

# The wheel and the sdist, each installed in an empty environment and tried.
test-packages: .venv/dev.stamp
	.venv/bin/python -m tests.packages

# The heavy proofs, each with a record in bench/results/prove: all, or make prove PART=soak. Half an hour in all.
PART ?= all
prove: .venv/dev.stamp
	.venv/bin/python bench/prove.py $(PART)

prove-list: .venv/dev.stamp
	.venv/bin/python bench/prove.py

check: .venv/dev.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/dev.stamp
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# The site, into site/; a broken link is an error. MkDocs 1 is what is meant here: no advice on other generators.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build

docs-serve: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs serve

clean:
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Where no NVIDIA driver is found, the CPU build of torch: pip prefers it to the same version with CUDA.
.venv/core.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	command -v nvidia-smi > /dev/null || $(PIP) --no-deps --retries 1 --extra-index-url $(CPU_INDEX) torch
	$(PIP) -e .
	touch $@

.venv/dev.stamp: .venv/core.stamp
	$(PIP) -e '.[synth,train,structured,test,dev,docs]'
	touch $@

.venv/docs.stamp: .venv/core.stamp
	$(PIP) -e '.[docs]'
	touch $@
