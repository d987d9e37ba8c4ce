# make test, make lint, make audit, make demo, make docs, make dist, make fuzz MINUTES=10: each first installs what it needs into
# .venv (once; again when pyproject.toml, constraints.txt or .ci/requirements*.txt change). To start over: rm -r .venv. Another
# interpreter: make test PYTHON=python3.13
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.docs-installed
# -qq: errors only.
PIP := $(BIN)/python -m pip install -qq

# Xvfb, and what the Qt 6 of PyQt6's wheels loads on X11; Node.js and Chromium, in which the viewer of docs/viewer runs.
TEST_PACKAGES := xvfb libdbus-1-3 libegl1 libfontconfig1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4 \
	libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0 nodejs chromium
# What checks the JavaScript of docs/viewer; `make lint` alone needs it.
JS_INSTALLED := docs/viewer/node_modules/.installed

.PHONY: test lint audit demo docs dist lock fuzz system-packages clean

# Each worker has an Xvfb and one thread for torch; one that is done takes tests from another. Bytecode is kept, as tests
# start some hundred processes. The outer timeout is for a thread that keeps Python from exiting.
WORKERS ?= 2
test: $(INSTALLED) system-packages
	QT_QPA_PLATFORM=xcb OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= timeout --kill-after=30 2700 \
		$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lint: $(INSTALLED) $(JS_INSTALLED)
	$(BIN)/python -m pip check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/npe2 validate src/napari_tinc/napari.yaml
	cd docs/viewer && node_modules/.bin/biome ci --error-on-warnings . && node_modules/.bin/tsc

# Fails where a version from npm is known to be unsafe, and where the registry that npm asks does not know.
audit: $(JS_INSTALLED)
	cd docs/viewer && npm audit

demo: $(INSTALLED)
	$(BIN)/napari-tinc demo

# The site, in site/; a link that leads nowhere fails it. NO_MKDOCS_2_WARNING: an advertisement of the theme.
docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean --quiet
	@echo "Built: site/index.html"

# With a README whose links are absolute, as PyPI needs them.
dist: $(INSTALLED)
	$(BIN)/python -m pytest tests/test_distribution.py
	$(BIN)/python .ci/dist

# After a change of dependencies or of constraints.txt.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -qq --constraint constraints.txt uv
	UV=.venv-lock/bin/uv .ci/lock

# Hostile files, for so long; SEED=2 gives others. What is found is printed, and make fails.
MINUTES ?= 10
SEED ?= 0
fuzz: $(INSTALLED)
	$(BIN)/python tests/hostile/fuzz.py --minutes $(MINUTES) --seed $(SEED)

system-packages:
	@sh .ci/system-packages $(TEST_PACKAGES)

# Wheels only: nothing that is downloaded runs while it is installed. torch first and alone, by its version, because
# which build of it is wanted, for which GPU, is for pip's settings to say; then all else, of known hashes; then what
# that build of torch needs besides.
$(INSTALLED): pyproject.toml constraints.txt .ci/requirements.txt | $(BIN)/pip
	$(PIP) --only-binary :all: --no-deps --constraint constraints.txt torch
	$(PIP) --only-binary :all: --require-hashes --requirement .ci/requirements.txt
	$(PIP) --only-binary :all: --constraint constraints.txt torch
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS_INSTALLED): .ci/requirements-docs.txt $(INSTALLED)
	$(PIP) --only-binary :all: --require-hashes --requirement .ci/requirements-docs.txt
	@touch $@

# Nothing that is downloaded runs while it is installed.
$(JS_INSTALLED): docs/viewer/package-lock.json
	@command -v npm >/dev/null || sh .ci/system-packages nodejs npm
	cd docs/viewer && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "napari-tinc needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh .ci/system-packages python3-venv
	$(PYTHON) -m venv .venv

clean:
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
