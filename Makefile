# Every target does its own set-up; a second run finds it done.

# `make run` passes these on.
HOME_DIR ?= .tradewind
HOST ?= 127.0.0.1
PORT ?= 8080
SLOTS ?=
DAGS_FOLDER ?= dags

# `make run-aws` passes these on, HOST and PORT too; ports of the emulators on 127.0.0.1.
AWS_HOME_DIR ?= .tradewind-aws
AWS_PORT ?= 5055
SQS_PORT ?= 5056

# `make chaos` passes these on.
TASKS ?= 10000
SEED ?=

UV_COMPILE = uv pip compile --quiet --universal --python-version 3.10 --only-binary :all: --generate-hashes \
	--no-header --no-annotate

# The environment Tradewind runs user code in; another one may be active in the shell.
run run-aws test chaos bench: export VIRTUAL_ENV := $(CURDIR)/.venv

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what building needs: system packages and the Python environment.
	@scripts/setup

.PHONY: run
run: setup ## Start everything on one machine: HOME_DIR, HOST, PORT, SLOTS, DAGS_FOLDER.
	cargo build --locked --release --package tradewind --package tradewind-pyhost
	@exec target/release/tradewind standalone --home '$(HOME_DIR)' --host '$(HOST)' --port '$(PORT)' \
		--dags-folder '$(DAGS_FOLDER)' $(if $(SLOTS),--slots '$(SLOTS)')

.PHONY: run-aws
run-aws: ## Start everything as on AWS, with emulators of S3, SQS and CloudWatch: AWS_HOME_DIR, HOST, PORT, AWS_PORT, SQS_PORT.
	@scripts/setup --aws
	cargo build --locked --release --package tradewind --package tradewind-pyhost
	@exec .venv-emulator/bin/python deploy/emulator/run.py --home '$(AWS_HOME_DIR)' --aws-port '$(AWS_PORT)' \
		--sqs-port '$(SQS_PORT)' -- target/release/tradewind standalone --host '$(HOST)' --port '$(PORT)'

# The end-to-end tests start the programs themselves, so these are built first, with the features of the whole workspace:
# the tests then compile nothing twice.
.PHONY: test
test: ## Run all tests.
	@scripts/setup --test
	cargo build --locked --workspace --bins
	scripts/with-test-postgres cargo nextest run --locked --workspace

# `make test` does the same with a few hundred task instances.
.PHONY: chaos
chaos: ## Kill processes at random while TASKS task instances run; SEED repeats an earlier run.
	@scripts/setup --test
	cargo build --locked --workspace --bins
	CHAOS_TASKS='$(TASKS)' CHAOS_SEED='$(SEED)' scripts/with-test-postgres \
		cargo nextest run --locked --workspace --profile chaos -E 'binary(chaos)'

# cargo-deny takes minutes to build and its answer changes only with Cargo.lock and deny.toml; so lint runs it where it is
# installed, and `make deny` anywhere.
.PHONY: lint
lint: setup ## Check format, lints and, where cargo-deny is installed, dependencies.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(MAKE) --no-print-directory deny; \
	else echo 'lint: cargo-deny is not installed; `make deny` installs and runs it'; fi

# Advisories are left out: they need a database fetched from the network, and would fail an unchanged checkout.
.PHONY: deny
deny: ## Check licences, bans and sources of the dependencies.
	@scripts/setup --deny
	cargo deny check licenses bans sources

.PHONY: fmt
fmt: ## Format the code.
	cargo fmt --all

.PHONY: bench
bench: setup ## Compare with official Airflow on this machine.
	cargo build --locked --profile dist --package tradewind --package tradewind-pyhost
	.venv/bin/python bench/compare.py

.PHONY: bench-scheduler
bench-scheduler: setup ## Measure what the scheduler alone can do, with no Python in the loop.
	cargo build --locked --profile dist --package tradewind --package tradewind-bench
	scripts/with-test-postgres target/dist/bench-scheduler

.PHONY: bench-api
bench-api: setup ## Compare the API with official Airflow's on this machine.
	cargo build --locked --profile dist --package tradewind --package tradewind-pyhost --package tradewind-bench
	scripts/with-test-postgres target/dist/bench-api

# The simulation is all computing, and small: an optimised build takes seconds.
.PHONY: simulate
simulate: setup ## Simulate crashes and races: SEEDS=1000 seeds, or SEED=123 alone.
	cargo run --locked --release --quiet --package tradewind-simulation -- \
		$(if $(SEED),--seed '$(SEED)' --whole-trace,--seeds '$(or $(SEEDS),1000)')

.PHONY: lock
lock: ## Compile the Python lock files anew (needs uv).
	$(UV_COMPILE) python/requirements.in --output-file python/requirements.lock
	$(UV_COMPILE) python/emulator-requirements.in --output-file python/emulator-requirements.lock
	$(UV_COMPILE) python/test-requirements.in --output-file python/test-requirements.lock

.PHONY: clean
clean: ## Remove what was built and installed here; HOME_DIR, which holds data, stays.
	cargo clean
	rm -rf .venv .venv-emulator .venv-test deploy/emulator/node_modules
