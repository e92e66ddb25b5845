# The commands of this repository; `make help` lists them. Steps call cargo with the variables of tests/stack/env.sh.
# A new step of the test run: write a target and add its name to TEST_STEPS.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TEST_STEPS := scripts fmt unit
CACHE := $${TIDEMILL_CACHE:-$$HOME/.cache/tidemill}
ENV := source tests/stack/env.sh; PATH="$$TIDEMILL_CACHE/bin:$$PATH";
# Always the whole workspace: a package alone would have its dependencies built again, with fewer features.
BUILD := cargo build --workspace
harness = $(BUILD) --quiet --bin $(1) && "$$CARGO_TARGET_DIR/debug/$(1)"
# Only what others leave of the processor: beside computing tests of equal rank, brokers stand still.
IDLE := $(shell command -v chrt >/dev/null && echo chrt --idle 0) nice -n 19
# `make torture KILLS=100 SEED=7` runs the driver with `--kills 100 --seed 7`; what is not given keeps the driver's default.
option = $(if $($(2)),--$(1) $($(2)))
OPTIONS = $(strip $(call option,kills,KILLS) $(call option,records,RECORDS) $(call option,partitions,PARTITIONS) \
  $(call option,seed,SEED) $(call option,n,N) $(call option,control,CONTROL) $(ARGS))
RUN_DIR ?= $(CACHE)/run

.PHONY: help ids clippy deny computing peers peers-built cost micro metrics alerts panels dashboards setup build test $(TEST_STEPS) release kafka postgres down demo binaries fast torture sink-torture strays controls seed1 trace trace-cost bench bench-commit bench-restart model

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

setup: ## get what this machine lacks: Java, Kafka, PostgreSQL, libclang, RocksDB prebuilt, cargo-deny
	@tests/stack/setup

build: setup ## debug build of the program, with RocksDB prebuilt
	@$(ENV) $(BUILD) --bin tidemill

test: setup ## everything that CI runs, against real Kafka and PostgreSQL
	@for step in $(TEST_STEPS); do echo "== $$step"; $(MAKE) $$step; done

scripts: ## the shell scripts parse, and shellcheck has nothing to say (where it is installed)
	@for file in tests/stack/{setup,kafka-cluster,kafka-tool,postgres,demo,*.sh,jaeger/build} tests/cost/{traces,engine,train}.sh .ci/run tests/harness/side-by-side tests/peers/setup; do bash -n "$$file"; done
	@if command -v shellcheck >/dev/null; then shellcheck -x tests/stack/{setup,kafka-cluster,kafka-tool,postgres,demo,*.sh,jaeger/build} tests/cost/{traces,engine,train}.sh tests/cost/rustc-with .ci/run tests/harness/side-by-side tests/peers/setup; \
	else echo "shellcheck is not installed: scripts were parsed, not linted"; fi

fmt: ## formatting
	@$(ENV) cargo fmt --all --check

clippy: ## lints of every target, warnings are errors
	@$(ENV) cargo clippy --workspace --all-targets -- -D warnings
	@$(ENV) cargo clippy --workspace --all-targets --features controls -- -D warnings

deny: ## licences, sources, banned crates; advisories where their database can be had
	@$(ENV) cargo deny --locked check licenses bans sources
	@$(ENV) if timeout 60 cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo "NOT CHECKED: security advisories. https://github.com/RustSec/advisory-db cannot be reached from here"; fi

unit: binaries ## lints and every test of the workspace; the programs that tests drive are built first
	@$(ENV) cargo test --workspace --no-run
	@$(ENV) own=0; out=$$(mktemp); $(IDLE) $(MAKE) computing >"$$out" 2>&1 & computing=$$!; \
	trap 'kill $$computing 2>/dev/null || true; rm -f "$$out"' EXIT; \
	tests/harness/side-by-side 2 peers-built || own=1; wait $$computing || own=1; cat "$$out"; exit $$own
# Tests against real brokers mostly wait: two at a time, and what computes goes on beside them, behind them.

computing: clippy deny # what needs the processor and no broker
	@$(ENV) own=0; cargo test --workspace --exclude tidemill-harness || own=1; $(MAKE) cost || own=1; exit $$own

peers: setup ## the harness of `make bench`: its rules, and a small run that must lose its figures
	@$(ENV) $(BUILD) --quiet --bin tidemill; $(MAKE) peers-built

peers-built:
	@$(ENV) export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/peers TIDEMILL_PROGRAM="$$CARGO_TARGET_DIR/debug/tidemill"; \
	for suite in test_bench smoke; do "$$TIDEMILL_CACHE/python/bin/python" "tests/peers/tests/$$suite.py"; done

release: setup ## from source, with RocksDB, librdkafka and OpenSSL linked in, by a profile of the engine at work; its own build directory
	@$(ENV) unset ROCKSDB_LIB_DIR RUSTFLAGS; export CC=clang CXX=clang++ CARGO_TARGET_DIR="$$TIDEMILL_CACHE/release"; \
	tests/cost/train.sh --release --locked --features vendored --bin tidemill; ls -l "$$CARGO_TARGET_DIR/release/tidemill"

demo: ## the hourly job, live in this terminal: gets, starts and builds what is missing; Ctrl-C stops everything
	@tests/stack/demo

kafka: setup ## a Kafka to play with: NODES=1|3, stopped by `make down`
	@tests/stack/kafka-cluster start "$(RUN_DIR)/kafka" --nodes $(or $(NODES),1) $(ARGS)

postgres: setup ## a PostgreSQL to play with, stopped by `make down`
	@tests/stack/postgres start "$(RUN_DIR)/postgres"

down: ## stop both, remove their data
	@tests/stack/kafka-cluster stop "$(RUN_DIR)/kafka"; tests/stack/postgres stop "$(RUN_DIR)/postgres"; rm -rf "$(RUN_DIR)"

binaries: # the program, and the same with its protections removable one at a time
	@$(ENV) $(BUILD) --bin tidemill
	@$(ENV) $(BUILD) --features controls --bin tidemill-controls

torture: setup binaries ## kill, stop and cut under load, then compare with an oracle: KILLS RECORDS PARTITIONS SEED
	@$(ENV) $(call harness,torture) $(OPTIONS)

sink-torture: setup binaries ## kill -9 of a sink and of PostgreSQL, backends terminated, a table locked for LOCK seconds: KILLS SEED LOCK
	@$(ENV) SINKS="in the middle" SINK_KILLS=$(or $(KILLS),50) SINK_SEED=$(or $(SEED),1) SINK_LOCK=$(or $(LOCK),60) \
	cargo test --workspace --test sinks -- --nocapture

strays: setup binaries ## requests held back and cut at every position of a transaction: N SEED
	@$(ENV) $(call harness,strays) $(OPTIONS)

seed1: setup binaries ## the hourly job under 20 kills, fed by Python clients with faults, against SQL: KILLS RECORDS PARTITIONS SEED
	@$(ENV) $(call harness,seed1) $(OPTIONS)

trace: setup binaries ## rows followed to their producers and sinks through a real Jaeger, over a SIGKILL and a rebalance; needs Go, once
	@$(ENV) export JAEGER_BIN=$$(tests/stack/jaeger/build); $(call harness,trace)

ids: ## ten million different ids in an hour, and the memory that they take: IDS
	@$(ENV) TIDEMILL_IDS=$(or $(IDS),10000000) cargo test --workspace --test memory -- --nocapture

cost: ## instructions of an event against what they were, and tracing against its 2 %, in the build that tests use: UPDATE=1 writes them anew
	@$(ENV) $(BUILD) --quiet --examples; examples="$$CARGO_TARGET_DIR/debug/examples"; \
	tests/cost/engine.sh "$$examples/engine-cost" tests/cost/engine.txt $(if $(UPDATE),--update); N=4000 tests/cost/traces.sh "$$examples/trace-cost" w1

micro: setup ## times of scanner, fold, table, id set and codec, each by itself (criterion): ONLY=table
	@$(ENV) cargo bench --quiet --profile fast -p tidemill --bench micro -- $(ONLY)

trace-cost: setup ## what tracing costs, in instructions an event (callgrind): N
	@$(ENV) cargo build --quiet --profile fast -p tidemill --example trace-cost; N=$(or $(N),8000) tests/cost/traces.sh "$$CARGO_TARGET_DIR/fast/examples/trace-cost"

controls: setup binaries ## each protection with and without it, on a real broker: CONTROL (one of them)
	@$(ENV) $(call harness,controls) $(OPTIONS)

fast: # optimised as a release is, and both in one command: separately they would be built with other features, twice
	@$(ENV) tests/cost/train.sh --quiet --profile fast -p tidemill -p tidemill-harness --bin tidemill --bin bench

bench: setup fast ## beside Kafka Streams and others, one broker: W=w1,... or all, ROUNDS=3, EVENTS, HEAVY=1 (Flink, Quix), ONLY=peer,...
	@$(ENV) tests/peers/setup $(if $(HEAVY),--heavy) && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/peers "$$TIDEMILL_CACHE/python/bin/python" -m bench \
	  $(strip $(call option,workload,W) $(call option,rounds,ROUNDS) $(call option,events,EVENTS) $(call option,only,ONLY) $(if $(HEAVY),--heavy) $(if $(BRIEF),--brief) $(ARGS))

bench-commit: setup fast ## latency of a commit on a real broker, beside a bare producer's: N PARTITIONS
	@$(ENV) "$$CARGO_TARGET_DIR/fast/bench" commit $(OPTIONS)

bench-restart: setup fast ## restart after SIGKILL with a large store: N RECORDS (its keys) PARTITIONS
	@$(ENV) "$$CARGO_TARGET_DIR/fast/bench" restart $(OPTIONS)

metrics: ## write observability/METRICS.md from the handles
	@$(ENV) TIDEMILL_WRITE=1 cargo test --quiet --workspace --lib the_document >/dev/null

dashboards: ## the dashboards against Grafana's own types (npm gets them)
	@out="$(CACHE)/grafana"; mkdir -p "$$out"; cmp -s observability/dashboards/check/package.json "$$out/package.json" || { \
	cp observability/dashboards/check/package.json "$$out/" && npm install --silent --no-audit --no-fund --no-package-lock --prefix "$$out"; }; \
	node observability/dashboards/check/check.mjs "$$out"

alerts: setup binaries ## real Prometheus and Alertmanager: kill PostgreSQL, stop the broker, heal both
	@$(ENV) $(call harness,alerts) alerts

panels: setup binaries ## every panel's query gives data in a real Prometheus: ARGS="--seconds 75"
	@$(ENV) $(call harness,alerts) panels $(ARGS)

model: ## the long runs of the protocol's model
	@$(ENV) cargo run --release --quiet -p tidemill-model -- $(OPTIONS)
