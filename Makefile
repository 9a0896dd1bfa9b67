# make demo   the whole job on a sample recording      make test   all tests
# make up     Dagster's UI and the review pages        make lint   ruff, mypy, import-linter
# make test-sam   the tests of SAM2 and SAM3, with torch, in a venv of their own
# make stress kill every stage at many points, and a live daemon (half an hour)
# make stress-sam   kill SAM2's masklets at twenty points
# make bench  speed and size against peers and kernels, on a quiet machine (half an hour); BENCH="extraction memory" for some of it
# make bench-sam   memory of masklets with SAM2
PYTHON ?= python3.11
VENV ?= .venv
SAM_VENV ?= .venv-sam
BENCH_VENV ?= .venv-bench
BENCH ?=
ROOT ?= lamm-data
PORT ?= 3000
REPORT_PORT ?= 3001

BIN := $(VENV)/bin
LAMM := $(BIN)/lamm
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SAMPLE := $(ROOT)/sample/sample.svo2

.PHONY: demo up test test-sam stress stress-sam bench bench-sam lint docs clean

demo: $(VENV)/.base
	$(LAMM) sample $(SAMPLE)
	$(LAMM) run $(SAMPLE) --root $(ROOT)
	$(LAMM) run $(SAMPLE) --root $(ROOT) --stage identities
	$(LAMM) gifs sample --root $(ROOT)
	$(LAMM) evaluate $(ROOT) --recording sample --truth $(basename $(SAMPLE)).truth
	$(LAMM) evaluation ensemble sample --root $(ROOT)
	$(LAMM) evaluation show ground-filters --root $(ROOT)
	$(LAMM) scenes view sample --root $(ROOT)
	$(LAMM) scenes refresh --root $(ROOT)
	@echo
	@echo "To see all of it: make up, then open http://127.0.0.1:$(PORT) (Dagster's UI) and"
	@echo "http://127.0.0.1:$(REPORT_PORT)/ (dashboard: everything is a click from here),"
	@echo "http://127.0.0.1:$(REPORT_PORT)/recordings/sample (what was found, to be reviewed by keyboard),"
	@echo "http://127.0.0.1:$(REPORT_PORT)/scenes (all recordings, and datasets built of them),"
	@echo "http://127.0.0.1:$(REPORT_PORT)/scenes/sample (where models are unsure in it; a click on a peak opens the frame in 3D),"
	@echo "http://127.0.0.1:$(REPORT_PORT)/hotspots (where they are least sure of all, and datasets of such frames)"

up: $(VENV)/.base
	$(LAMM) up --root $(ROOT) --port $(PORT) --report-port $(REPORT_PORT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

test-sam: $(SAM_VENV)/.sam
	LAMM_TEST_NO_SKIPS=1 $(SAM_VENV)/bin/python -m pytest -m "sam and not stress" lamm_pipeline_tests/sam

stress-sam: $(SAM_VENV)/.sam
	LAMM_TEST_NO_SKIPS=1 $(SAM_VENV)/bin/python -m pytest -m "sam and stress" lamm_pipeline_tests/sam

stress: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "stress and not sam"

bench: $(VENV)/.dev $(BENCH_VENV)/.bench
	$(BIN)/python -m lamm_pipeline_tests.benchmarks $(BENCH) --out build/benchmarks --peers $(BENCH_VENV)/bin/python

bench-sam: $(SAM_VENV)/.sam
	$(SAM_VENV)/bin/python -m lamm_pipeline_tests.benchmarks masklet_memory --out build/benchmarks

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

docs: $(VENV)/.dev
	$(BIN)/python -m lamm_pipeline_tests.docs.feature_list

clean:
	rm -rf $(VENV) $(SAM_VENV) $(BENCH_VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable ".[view]"
	touch $@

# trackeval asks for the OpenCV with windows, which would overwrite ours; it needs none of it for its metrics.
$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --constraint constraints.txt --editable ".[dev,view]"
	$(PIP) install --constraint constraints.txt --no-deps trackeval
	touch $@

# torch comes first, because sam2 is built against it; the constraints keep later installs from replacing it. No CUDA kernels are compiled.
$(SAM_VENV)/.sam: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SAM_VENV)
	$(SAM_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt setuptools wheel torch torchvision
	SAM2_BUILD_CUDA=0 $(SAM_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt \
		--no-build-isolation --editable ".[sam2,sam3]" pytest
	touch $@

# The libraries to compare with bring an OpenCV that would overwrite ours, so they live alone. A current pip knows dependency groups.
$(BENCH_VENV)/.bench: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install "pip>=25.1"
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --group bench
	touch $@
