# Two commands do all: `make demo` trains the showcase models, `make test` checks everything but variants of what it
# tries already, which `make test-all` adds.
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check

.PHONY: demo test test-all bench clean

demo: .venv/demo
	.venv/bin/python test.py

test: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -n 2 --dist loadgroup -q -m "not thorough"

test-all: .venv/dev
	.venv/bin/python -m pytest -n 2 --dist loadgroup -q

bench: .venv/bench
	.venv/bin/python -m benchmarks

# One environment for both: what is installed in it is remembered by an empty file.
.venv/demo: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[plots]'
	touch $@

.venv/dev: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[dev]'
	touch $@ .venv/demo

# JAX takes part in the benchmarks only.
.venv/bench: .venv/dev
	PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
