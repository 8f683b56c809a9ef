# What there is to do here. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run jolie web cluster cluster-down test lint deploy-check bench soak fuzz deny clean

# Where cargo builds, also when CARGO_TARGET_DIR says so.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Further arguments for `make run`, as in: make run ARGS="--listen 0.0.0.0:8080"
ARGS ?=
# Where `make jolie` puts the interpreter; servers look in the default place by themselves.
JOLIE ?=
# How long each of the three parts of `make soak` takes: two of tests, one of load.
SOAK_SECONDS ?= 600
# How many cases each property test draws in `make fuzz`.
CASES ?= 20000
# Who may be measured: `make bench` keeps the server on this processor and the load generator on the others.
SERVER_CPUS ?= 0

help: ## List the targets
	@echo "Parlor: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build for release, then serve on http://127.0.0.1:8080 with the data in ./parlor-data
	@scripts/check-tools.sh
	@scripts/web.sh build
	@echo "building Parlor for release; the first time takes a while (minutes), later seconds …"
	@cargo build --release --bin parlor
	@echo "starting: data in ./parlor-data, stop with Ctrl-C"
	@exec $(TARGET)/release/parlor serve --data parlor-data $(ARGS)

web: ## Build the web page into web/dist, where the next build of the server takes it from; needs node and npm
	@scripts/web.sh build

cluster: ## Three nodes, three brokers, Postgres, Redis and an ingress on this machine; addresses in target/cluster/env
	@scripts/check-tools.sh
	@scripts/web.sh build
	@echo "building Parlor for release; the first time takes a while (minutes), later seconds …"
	@cargo build --release --bin parlor
	@scripts/cluster.sh up

cluster-down: ## Stop what `make cluster` started; its data stays, unless WIPE=1
	@scripts/cluster.sh down $(if $(WIPE),--wipe)

jolie: ## Get the interpreter of Jolie scripts, into ~/.local/share/parlor/jolie (or JOLIE=FOLDER)
	@scripts/jolie.sh $(JOLIE)

test: ## Run every test, with what it needs installed first, and say at the end how many passed
	@scripts/check-tools.sh
	@if [ -f tests/setup.sh ]; then echo "setting up: tests/setup.sh"; bash tests/setup.sh; fi
	@scripts/deploy-check.sh rules
	@scripts/test.sh --workspace

deploy-check: ## Check all that is in deploy/: rules and their tests, dashboards, the chart, compose.yaml, workflows
	@scripts/deploy-check.sh

lint: ## Check format, clippy (no warning passes) and the rules of the house
	@scripts/check-tools.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/lint-house.sh
	scripts/web.sh lint

bench: ## Measure: the bus alone, then each load scenario against a server of its own (docs/performance.md)
	@scripts/check-tools.sh
	cargo build --release -p parlor -p parlor-bench
	cargo bench --bench bus
	SERVER_CPUS=$(SERVER_CPUS) TARGET=$(TARGET) scripts/bench.sh

soak: ## Kill and load for long: crash tests, faults in a cluster, a steady load, SOAK_SECONDS each
	@scripts/check-tools.sh
	@bash tests/setup.sh
	PARLOR_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --workspace --test it crash::kills::accepted -- --nocapture
	PARLOR_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --workspace --test it cluster::faults:: -- --nocapture
	cargo build --release -p parlor -p parlor-bench
	$(TARGET)/release/parlor-bench --spawn $(TARGET)/release/parlor soak --seconds $(SOAK_SECONDS)

fuzz: ## Run the property tests with many cases each (CASES=20000)
	@scripts/check-tools.sh
	PROPTEST_CASES=$(CASES) cargo test -p parlor --lib -- $$(scripts/property-tests.sh)

deny: ## Check licences, advisories and sources of the dependencies; needs cargo-deny
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; }
	cargo deny check

clean: ## Throw away what was built; ./parlor-data stays
	cargo clean
