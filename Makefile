# Two commands do all: `make demo` trains the showcase models, `make test` checks everything but variants of what it
# tries already, which `make test-all` adds.
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check

.PHONY: demo test test-all bench playground web-test clean

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

# The playground's page, into the package: exported steps by Python, scripts and WebAssembly by npm. Needs Node 20 or newer.
playground: .venv/dev web/node_modules
	.venv/bin/python -m modgrad.playground.models
	cd web && npm run --silent playground
	.venv/bin/python -m modgrad.playground.sizes

# modgrad-web and the playground, in Node and in headless Chromium; the numbers held against onnxruntime in Python.
web-test:
	web/test.sh

web/node_modules: web/package.json web/package-lock.json
	cd web && npm ci
	touch $@

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
	rm -rf web/node_modules web/build web/dist modgrad/playground/page
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
