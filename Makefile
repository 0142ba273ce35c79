# Everything that is done with the project by name; `make` alone prints the list.

PYTHON ?= python3
BROKER ?= embedded
UPGRADE ?=
SEEDS ?= 10000
SEED ?=
MUTATIONS ?=
BENCH ?=
MINUTES ?= 30
SCENARIO ?=
REPEAT ?= 1

BIN := .venv/bin
INSTALLED := .venv/.installed
UV := .local/uv-0.13.9
OPERATOR := .local/prometheus-operator-0.80.1.0
LOCK = $(UV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-unit test-browser simulate lint check-alerts check-manifests format kafka topics up down bench performance scaling bench-workers bench-endurance bench-recovery chaos lock clean

help: ## Print this list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(INSTALLED) ## Make .venv from the lock file; nothing is written elsewhere.

demo: $(INSTALLED) ## Watch schedules fire: BROKER=embedded needs nothing else, BROKER=kafka is a real one.
	@BROKER=$(BROKER) $(BIN)/python -m dev.demo

test: $(INSTALLED) ## Run every test; the last line names the Kafka that they ran on.
	@$(BIN)/pytest

test-unit: $(INSTALLED) ## Run the tests that need no Kafka.
	@$(BIN)/pytest tests/unit tests/simulation

simulate: $(INSTALLED) ## Judge simulated worlds: SEEDS=10000, SEED=123 tells the course of one, MUTATIONS=1 adds defects.
	@$(BIN)/python -m tests.support.simulation $(if $(MUTATIONS),--mutations,$(if $(SEED),--seed $(SEED),--seeds $(SEEDS)))

test-browser: $(INSTALLED) ## Run the tests of the admin page, in a Chromium that is on the machine.
	@$(BIN)/pytest -m browser tests/browser

lint: $(INSTALLED) ## Check style, types and the architecture.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check-alerts: $(INSTALLED) ## Test alert rules and dashboard with promtool and a Prometheus that asks running programs.
	@command -v promtool >/dev/null || { echo "promtool was not found; it comes with Prometheus (Debian: apt-get install prometheus)." >&2; exit 1; }
	@promtool check config deploy/prometheus/prometheus.yml
	@promtool test rules deploy/prometheus/alerts.test.yml
	@$(BIN)/pytest -m prometheus tests/integration/test_prometheus.py

check-manifests: ## Check what is for the Prometheus operator against its own definitions, from a package kept apart.
	@test -x $(OPERATOR)/bin/python || $(PYTHON) -m venv $(OPERATOR)
	@$(OPERATOR)/bin/python -m pip install -q --disable-pip-version-check cloudcoil-models-prometheus-operator==0.80.1.0
	@$(OPERATOR)/bin/python -m dev.operator_objects

format: $(INSTALLED) ## Format the code and mend what can be mended.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

kafka: $(INSTALLED) ## Run a real Kafka on 127.0.0.1:9092 without Docker, until Ctrl-C.
	@$(BIN)/python -m dev.local_kafka --port 9092

topics: $(INSTALLED) ## Create the topics on BOOTSTRAP_SERVERS (localhost:9092).
	@./topics.sh

up: ## Build and start the whole system with Docker Compose.
	@docker compose up --build --detach --wait

down: ## Stop it; the data stays in Docker's volumes.
	@docker compose down

bench-workers: $(INSTALLED) ## Measure short jobs against a bare spawn loop: BENCH="--rounds 9 --slots 8".
	@$(BIN)/python -m bench.short_jobs $(BENCH)

bench-endurance: $(INSTALLED) ## Run 20,000 short jobs through one worker, and show what it holds: BENCH="--jobs 100000".
	@$(BIN)/python -m bench.endurance $(BENCH)

bench: $(INSTALLED) ## Measure against the raw client on the same broker: BENCH="--only all --keep", or PEER=path too.
	@$(BIN)/python -m bench.run $(BENCH)

performance: $(INSTALLED) ## Write docs/performance.md and its plot from what `make bench` has kept.
	@$(BIN)/python -m bench.report

scaling: $(INSTALLED) ## Write docs/scaling.md and its plot: simulated, from what `make bench` has kept.
	@$(BIN)/python -m bench.scaling

bench-recovery: $(INSTALLED) ## Measure how long nothing fires after a fault: BENCH="--rounds 3 --pending 100000".
	@$(BIN)/python -m bench.recovery $(BENCH)

chaos: $(INSTALLED) ## Faults on three brokers, judged: SEED=1 MINUTES=30, or SCENARIO=kill|zombie|broker|storm|all REPEAT=25.
	@$(BIN)/python -m tests.support.chaos --minutes $(MINUTES) --repeat $(REPEAT) \
		$(if $(SEED),--seed $(SEED)) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(LOG),--log $(LOG))

lock: ## Write the lock files anew; UPGRADE=--upgrade takes newer versions.
	@test -x $(UV)/bin/uv || { $(PYTHON) -m venv $(UV) && $(UV)/bin/pip install -q --disable-pip-version-check uv==0.13.9; }
	@$(LOCK) pyproject.toml -o requirements.txt
	@printf 'hatchling\neditables\n' | $(LOCK) pyproject.toml - --extra dev -c requirements.txt -o requirements-dev.txt
	@printf 'hatchling\n' | $(LOCK) - -c requirements-dev.txt -o requirements-build.txt

clean: ## Remove all that the targets above have made, .venv too.
	@rm -rf .venv .local build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and $(PYTHON) was not found." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + ": name another one, as in make PYTHON=python3.12 install")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
