# make test, make lint, make demo, make fuzz MINUTES=10: each first installs what it needs into .venv (once; again when pyproject.toml or
# constraints.txt change). To start over: rm -r .venv. Another interpreter: make test PYTHON=python3.13
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# -qq: errors only.
PIP := $(BIN)/python -m pip install -qq --constraint constraints.txt

# Xvfb, and what the Qt 6 of PyQt6's wheels loads on X11.
XVFB_PACKAGES := xvfb libdbus-1-3 libegl1 libfontconfig1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4 \
	libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0

.PHONY: test lint demo fuzz system-packages clean

# The outer timeout is for a worker thread that keeps Python from exiting.
test: $(INSTALLED) system-packages
	settings=$$(mktemp -d) && trap 'rm -rf "$$settings"' EXIT && \
	QT_QPA_PLATFORM=xcb NAPARI_CONFIG="$$settings/settings.yaml" timeout --kill-after=30 1200 $(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/npe2 validate src/napari_tinc/napari.yaml

demo: $(INSTALLED)
	$(BIN)/napari-tinc demo

# Hostile files, for so long; SEED=2 gives others. What is found is printed, and make fails.
MINUTES ?= 10
SEED ?= 0
fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES) --seed $(SEED)

system-packages:
	@sh .ci/system-packages $(XVFB_PACKAGES)

# torch first and alone, so that nothing else decides which build of it comes.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --upgrade pip
	$(PIP) torch
	$(PIP) --editable . --group dev
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "napari-tinc needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh .ci/system-packages python3-venv
	$(PYTHON) -m venv .venv

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
