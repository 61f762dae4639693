# `make demo` and `make test` each work alone on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# TORCH=cpu installs a torch without CUDA, some 4 GB less, from the index that PyTorch has for it.
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALLED := $(VENV)/.installed$(TORCH:%=-%)
# With what tests, linters and benchmarks need besides, and all extras: 1.2 GB that a demo does without.
FOR_TESTS := $(INSTALLED)-for-tests

ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH is $(TORCH); it can be cpu, or be left out for the usual torch, which on Linux brings CUDA)
endif

export DAGSTER_HOME ?= $(CURDIR)
export PYTHONWARNINGS := $(shell . ./env.sh && echo "$$PYTHONWARNINGS")
export PATH := $(CURDIR)/$(BIN):$(PATH)

DEMO_URL := sqlite:///$(CURDIR)/demo/labels.sqlite
PORT ?= 3000
ALL := dagster asset materialize -m webcam_ml.definitions --select '*'

.DEFAULT_GOAL := help
.PHONY: help install programs demo demo-data dev test deployed faults lint bench

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	@# The pair alone: what they need comes with the rest, and finds them in place.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --force-reinstall \
		--index-url $(TORCH_INDEX) torch torchvision || { echo "torch for the CPU alone cannot be had from \
	$(TORCH_INDEX): see above why. TORCH_INDEX=… names another index that has it; without TORCH=cpu the usual torch \
	is installed, on Linux with some 4 GB of CUDA" >&2; exit 1; }
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(FOR_TESTS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Two processes that meet an empty storage at once would trip over each other.
.dagster/storage: $(INSTALLED)
	@$(BIN)/python -c 'from dagster import DagsterInstance; DagsterInstance.get().get_runs(limit=1)'

install: $(FOR_TESTS) .dagster/storage ## Make .venv with all that the tests need, too, and initialise Dagster's storage; TORCH=cpu for a torch without CUDA

# What the tests need beside Python: a browser for the gallery, Node for the package in clients/node,
# openssl for the certificate of a test server, nginx for the proxy before the page, ip for hosts with
# a network of their own. The run level keeps apt from starting nginx as a server of this machine.
programs:
	@missing=; command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v node >/dev/null && command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || missing="$$missing nginx"; \
	PATH="$$PATH:/usr/sbin:/sbin" command -v ip >/dev/null || missing="$$missing iproute2"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "The tests need$$missing. On Debian: sudo apt-get install$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing"; apt-get update -qq && \
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

demo-data: $(INSTALLED) .dagster/storage
	@webcam-ml demo-data --folder demo
	@printf '%s\n' \
		'# To source in a shell: . demo/env.sh' \
		'export DAGSTER_HOME="$(CURDIR)"' \
		'export DATABASE_URL="$(DEMO_URL)"' \
		'export PATH="$(CURDIR)/$(BIN):$$PATH"' \
		'export PYTHONWARNINGS="$(PYTHONWARNINGS)"' \
		'# What a retrain of these data does, which the sensor starts:' \
		'export WEBCAM_ML_RETRAIN_CONFIG="$(CURDIR)/configs/demo.yaml"' \
		'# What the application sets to score with the live model:' \
		'export AI_SCORING_MODE=onnx' \
		'export AI_ONNX_MODEL_PATH="$(CURDIR)/artifacts/production/binary/model.onnx"' > demo/env.sh

demo: demo-data ## Drawn webcams → labels → model → report, and say where the results are
	@began=$$(date +%s); \
	DATABASE_URL="$(DEMO_URL)" $(ALL) -c configs/demo.yaml && \
	echo && webcam-ml summary --since $$began && \
	printf '%s\n' '' 'Next' \
		'  webcam-ml score demo/images/000001.jpg   rate a picture with the live model, after: . demo/env.sh' \
	'  make dev            the web page on these data: http://127.0.0.1:3000' \
		'  . demo/env.sh       then: dagster asset materialize -m webcam_ml.definitions --select "eval_report+"' \
		'  README.md           the first model on your own database'

dev: $(INSTALLED) .dagster/storage ## The Dagster web page on PORT (3000); on the demo data unless DATABASE_URL is set
	@# On a busy port dagster would leave a daemon behind that fights with the one that runs.
	@$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2>/dev/null || { \
		echo "Port $(PORT) is in use, maybe by a \`make dev\` that still runs: stop it, or try make dev PORT=3001" >&2; exit 1; }
	@echo "The page has no log-in, and any web site open in the same browser can start runs on it: docs/operation.md, Who may reach the page"
	[ -n "$$DATABASE_URL" ] || export DATABASE_URL="$(DEMO_URL)" \
		WEBCAM_ML_RETRAIN_CONFIG="$${WEBCAM_ML_RETRAIN_CONFIG:-$(CURDIR)/configs/demo.yaml}"; \
	dagster dev -w workspace.yaml -p $(PORT)

# A worker for each core: more threads would wait for each other. In order of files: the long ones
# in the middle, or one worker has them left at the end. No other worker takes the place of one that
# crashed: with whole files to a worker, pytest-xdist would wait for it for ever.
WORKERS := -n auto --dist loadfile --max-worker-restart 0
test: install programs ## Run the tests; what the browser saw is in test-results/screenshots
	WEBCAM_ML_SCREENSHOTS="$${WEBCAM_ML_SCREENSHOTS:-$(CURDIR)/test-results/screenshots}" \
		OMP_NUM_THREADS=1 pytest $(WORKERS) --no-loadscope-reorder

deployed: install programs ## Run what is end to end and takes longer: promotion in a shell, servers, pages in a browser, kills
	WEBCAM_ML_SCREENSHOTS="$${WEBCAM_ML_SCREENSHOTS:-$(CURDIR)/test-results/screenshots}" \
		OMP_NUM_THREADS=1 pytest $(WORKERS) -m 'deployed and not slow'

faults: install programs ## Break things, also what takes minutes: kills, full disks, restarts
	pytest -m faults webcam_ml_tests/faults

lint: install ## Check format, style, types and the import contracts
	ruff format --check .
	ruff check .
	mypy
	lint-imports

bench: install ## Measure what is claimed, side by side; QUICK=1 to see that it works, ROWS=import,labels for some
	python -m benchmarks $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS))
