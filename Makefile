# SPDX-License-Identifier: MIT
# Needs Python >= 3.10 (with venv), a C++20 compiler and make; all else comes from PyPI into .venv.
# A second call goes straight to work: finished steps leave a stamp.

PYTHON ?= python3
DEMO ?= demo
BUILD := build/dev
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The build tools are those of pyproject.toml's `requires`, so that they stand in one place.
BUILD_TOOLS = $(shell sed -n '/^requires = \[/,/^\]/s/^ *\(".*"\),*$$/\1/p' pyproject.toml)
LINT_TOOLS = $(shell sed -n 's/^lint = \[\(.*\)\]$$/\1/p' pyproject.toml | tr -d ',')
DOCS_TOOLS = $(shell sed -n 's/^docs = \[\(.*\)\]$$/\1/p' pyproject.toml | tr -d ',')
CXX_FILES = $(shell find include src tests examples \( -name '*.h' -o -name '*.cpp' -o -name '*.c' -o -name '*.mm' \) -print)
PYTHON_FILES = python tests tools bench examples cmake

# Build tools are found in .venv before the system's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test docs lint format bench fuzz generate check-generated build clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo      render scenes, train a denoiser, apply it; pictures in $(DEMO)/"
	@echo "make test      C++ tests, Python tests, the documentation's examples"
	@echo "make docs      the documentation as a site, in build/site"
	@echo "make lint      formatting, ruff, mypy, include arrows, budgets"
	@echo "make format    format C++ and Python"
	@echo "make bench     measure against peers"
	@echo "make fuzz      fuzz archives for FUZZ_SECONDS (600) a target; needs clang 19"
	@echo "make generate  write what is generated from the node table"
	@echo "make build     rebuild the Python module after a change"
	@echo "make clean     remove what was built; make distclean: .venv too"

# ---- set-up ---------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mpsnn needs Python >= 3.10; $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/tools: $(STAMPS)/venv pyproject.toml
	$(PIP) install $(BUILD_TOOLS)
	@touch $@

$(STAMPS)/lint: $(STAMPS)/venv pyproject.toml
	$(PIP) install $(LINT_TOOLS)
	@touch $@

# The stamp lies in the build folder: removing that or .venv brings this step back. The C++ tests are
# configured here but not built, so that both use the same objects.
$(BUILD)/installed: $(STAMPS)/tools
	$(PIP) install --no-build-isolation -C build-dir=$(BUILD) -C cmake.define.MPSNN_TESTS=ON --editable .
	@touch $@

# An extra's packages; mpsnn itself is there already.
$(STAMPS)/extra-%: $(BUILD)/installed
	$(PIP) install "mpsnn[$*]"
	@touch $@

# CMake's install compares whole seconds; ALWAYS copies.
build: $(BUILD)/installed
	@cmake --build $(BUILD) --target _core
	@CMAKE_INSTALL_ALWAYS=1 cmake --install $(BUILD) --component python \
	  --prefix "$$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" >/dev/null

# ---- work -----------------------------------------------------------------------------------------

demo: build $(STAMPS)/extra-denoise
	$(BIN)/mpsnn denoise demo --out $(DEMO)

# The nets and nodes are compared with PyTorch, too.
test: build $(STAMPS)/extra-test $(STAMPS)/peers
	@$(BIN)/python tools/run_tests.py --build $(BUILD) $(TEST_ARGS)

# Site generators bring much that nothing else needs: they have an environment of their own.
$(STAMPS)/docs: $(STAMPS)/venv pyproject.toml
	$(PYTHON) -m venv build/docs-venv
	build/docs-venv/bin/python -m pip --disable-pip-version-check --quiet install $(DOCS_TOOLS)
	@touch $@

docs: $(STAMPS)/docs
	@NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build --strict --quiet
	@echo "the documentation is in build/site/index.html"

lint: $(STAMPS)/lint
	@ruff format --check $(PYTHON_FILES)
	@ruff check $(PYTHON_FILES)
	@clang-format --dry-run --Werror $(CXX_FILES)
	@$(BIN)/python tools/check_layers.py
	@$(BIN)/python tools/check_api.py
	@mypy

format: $(STAMPS)/lint
	ruff format $(PYTHON_FILES)
	ruff check --fix $(PYTHON_FILES)
	clang-format -i $(CXX_FILES)

# PyTorch is the peer to measure against and a second opinion in the tests. PEER_ARGS may name an index with its CPU builds: the default
# ones for Linux bring gigabytes.
$(STAMPS)/peers: $(STAMPS)/venv
	$(PIP) install numpy torch==2.13.0 $(PEER_ARGS)
	@touch $@

bench: build $(STAMPS)/peers
	$(BIN)/python bench/denoiser.py $(BENCH_ARGS)

# What was found stays in build/fuzz-corpus; an input that fails is beside it. The second target starts
# where the first has ended, so that each has a processor.
FUZZ_SECONDS ?= 600
FUZZ := build/fuzz/tests/fuzz
fuzz: $(STAMPS)/tools
	cmake --preset fuzz >/dev/null && cmake --build --preset fuzz --target write_seeds fuzz_archive fuzz_document
	$(FUZZ)/write_seeds build/fuzz-corpus/seeds
	@for target in archive document; do \
	  mkdir -p build/fuzz-corpus/$$target && \
	  $(FUZZ)/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=3000 \
	    -dict=build/fuzz-corpus/seeds/dictionary -max_len=65536 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz-corpus/$$target- \
	    build/fuzz-corpus/$$target build/fuzz-corpus/seeds/$$target || exit 1; \
	done

generate: build $(STAMPS)/lint
	$(BIN)/python tools/generate.py

check-generated: build $(STAMPS)/lint
	@$(BIN)/python tools/generate.py --check
	@$(BIN)/python tools/check_stubs.py

clean:
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
