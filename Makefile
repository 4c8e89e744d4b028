# The newest Python that is there, of those that the project is tested with.
VERSIONS := 3.13 3.12 3.11
PYTHON ?= $(shell tools/python.sh $(VERSIONS))
VENV := .venv
# Where it is set, as in many containers, each process compiles our modules and the tests anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-annotate --quiet --custom-compile-command "make lock"

.PHONY: demo test test-fast test-fast-others check docs bench lock lock-upgrade wheel clean

demo: $(READY)
	$(BIN)/nst demo --output out/demo

test: $(DEV_READY)
	$(BIN)/python tests/pipeline/fake_gcs.py || true
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: $(DEV_READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not long"

# On every other version that is there, each in an environment of its own.
test-fast-others: $(DEV_READY)
	@used=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $(VERSIONS); do \
		if [ $$version = $$used ]; then continue; fi; \
		if python=$$(tools/python.sh $$version 2> /dev/null); then \
			$(MAKE) test-fast PYTHON=$$python VENV=.venv-$$version || exit 1; \
		else echo "Python $$version is not there; its tests are left out."; fi; \
	done

check: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DEV_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(DEV_READY)
	$(BIN)/python -m benchmarks

# Every version that is locked already stays, unless pyproject.toml forbids it.
lock: $(BIN)/uv
	$(LOCK) $(UPGRADE) --output-file requirements.txt
	$(LOCK) $(UPGRADE) --constraint requirements.txt --extra dev --extra docs --output-file requirements-dev.txt
	$(LOCK) $(UPGRADE) --constraint requirements.txt --extra gpu --output-file deploy/requirements-gpu.txt

lock-upgrade:
	$(MAKE) lock UPGRADE=--upgrade

wheel: $(DEV_READY)
	$(BIN)/uv build --no-build-isolation --quiet

clean:
	rm -rf $(VENV) $(addprefix .venv-,$(VERSIONS)) build dist out site

$(BIN)/python:
	@test -n "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	$(PIP) install uv

$(READY): requirements.txt pyproject.toml setup.py | $(BIN)/python
	$(PIP) install --require-hashes --no-deps -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $(READY)

$(DEV_READY): requirements-dev.txt | $(READY)
	$(PIP) install --require-hashes --no-deps -r requirements-dev.txt
	touch $(DEV_READY)
