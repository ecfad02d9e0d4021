# Berth: everything that a person or a CI runs; `make help` lists it. What the machine lacks is got once, by .ci/tools,
# and kept where other clones find it. ENVOY= names another Envoy binary.
SHELL = /bin/sh
.DEFAULT_GOAL = help
MAKEFLAGS += --no-print-directory
CARGO ?= cargo
TOOLS = .ci/tools
# Each toolchain has a target folder of its own: sharing one would rebuild everything at each change between them.
NATIVE = $(or $(CARGO_TARGET_DIR),target)
WASI = CARGO_TARGET_DIR=target/wasip1 $(TOOLS) cargo wasm32-wasip1
# The same file name with other features: in one folder each build would take the other's place.
WASI_PLACEMENT = CARGO_TARGET_DIR=target/wasip1-placement $(TOOLS) cargo wasm32-wasip1
NODE = CARGO_TARGET_DIR=target/node $(TOOLS) cargo wasm32-unknown-unknown
WITH_ENVOY = ENVOY=$$($(TOOLS) envoy) && export ENVOY
# Features that Rust's compiler uses and every Envoy that can run the module knows. What is called from one place only is not
# put there: that makes functions of 40 KB, and the proxy's memory follows the largest functions (benches/README.md).
WASM_OPT_FLAGS = -O3 --one-caller-inline-max-function-size=100 --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int \
  --enable-mutable-globals --enable-multivalue --enable-reference-types --strip-producers
export ENVOY

.PHONY: help demo up down simulation noops wasm cli test test-native test-e2e test-node lint e2e golden rust \
  bench bench-wasm bench-memory bench-envoy bench-guard fuzz soak mutants oci reproducible compatibility

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

rust:
	@command -v $(CARGO) >/dev/null || { echo "berth: no $(CARGO): install Rust (https://rustup.rs)" >&2; exit 2; }

# --- to look at ---

demo: wasm ## a short story of requests through a real Envoy, from nothing
	@echo "== the demo"
	@$(CARGO) build --locked --example demo
	@$(WITH_ENVOY) && $(CARGO) run --locked --quiet --example demo -- story

up: wasm ## the demo's world, left running, and what to try with it
	@echo "== the demo"
	@$(CARGO) build --locked --example demo
	@$(WITH_ENVOY) && $(CARGO) run --locked --quiet --example demo -- up

SCENARIOS = five-failures bursty diurnal spillover locality-collapse degraded-node law-in-motion partition herd \
  metastable retry-storm cascade drift drift-at-scale drift-unnoticed flapping wavering trace

simulation: rust ## run the standard scenarios and write their short report into examples/simulate/README.md (minutes)
	@$(CARGO) build --locked --release --bin berth
	@cd examples/simulate && \
	  { $(abspath $(NATIVE))/release/berth simulate $(SCENARIOS:%=%.yaml) --hold 12 --hold-from 7310101 --summary > .report; [ $$? -le 1 ]; } && \
	  sed -i '/^<!-- report -->$$/q' README.md && cat .report >> README.md; made=$$?; rm -f .report; exit $$made

down: rust ## stop what `make up` left running
	@$(CARGO) run --locked --quiet --example demo -- down

# --- to build ---

# Two builds of one version are told apart by what they were built of. What was optimised before is not optimised again.
wasm: export BERTH_SOURCES = $(shell cat Cargo.toml Cargo.lock $$(find src -type f | LC_ALL=C sort) | sha256sum | cut -c1-12)
wasm: rust ## build dist/berth.wasm and dist/berth-placement.wasm
	@echo "== the module, with both roles"
	@$(WASI) build --locked --release --lib
	@echo "== the module, with the placement role alone"
	@$(WASI_PLACEMENT) build --locked --release --lib --no-default-features
	@echo "== the tool, which trims them"
	@$(CARGO) build --locked --bin berth
	@mkdir -p dist
	@made=$$($(TOOLS) toolchain wasm32-wasip1)/wasm32-wasip1/release/berth.wasm && \
	  $(NATIVE)/debug/berth trim target/wasip1/$$made --full dist/.berth.wasm && \
	  $(NATIVE)/debug/berth trim target/wasip1-placement/$$made --placement dist/.berth-placement.wasm
	@opt=$$($(TOOLS) wasm-opt); for name in berth berth-placement; do \
	  of=$$({ echo "$$opt $(WASM_OPT_FLAGS)" && cat dist/.$$name.wasm; } | sha256sum) && made=target/$$name.made && \
	  if [ "$$(cat $$made 2>/dev/null)" = "$$of $$(cat dist/$$name.wasm 2>/dev/null | sha256sum)" ]; then rm dist/.$$name.wasm; else \
	    { [ -z "$$opt" ] || { "$$opt" $(WASM_OPT_FLAGS) dist/.$$name.wasm -o dist/.$$name.opt && mv dist/.$$name.opt dist/.$$name.wasm; }; } && \
	    mv dist/.$$name.wasm dist/$$name.wasm && echo "$$of $$(sha256sum < dist/$$name.wasm)" > $$made; \
	  fi && echo "dist/$$name.wasm: $$(wc -c < dist/$$name.wasm) bytes" || exit 1; done

cli: rust ## build dist/berth, the tool
	@echo "== the tool"
	@$(CARGO) build --locked --release --bin berth
	@mkdir -p dist && cp $(NATIVE)/release/berth dist/berth && echo "dist/berth: $$(wc -c < dist/berth) bytes"

# --- to test ---

test: ## every test: units, rules, both modules, the core in WebAssembly, a real Envoy
	@$(MAKE) wasm
	@$(MAKE) --keep-going test-native test-e2e test-node

# Those in a real Envoy are run by .ci/e2e.
BESIDE = $(filter-out tests/calibration.rs tests/e2e.rs,$(sort $(wildcard tests/*.rs)))
test-native:
	@echo "== units and rules"
	@$(WITH_ENVOY) && $(CARGO) test --locked --no-fail-fast --lib --bins --examples $(BESIDE:tests/%.rs=--test %)
	@$(CARGO) test --locked --quiet --doc

test-e2e:
	@echo "== end to end in a real Envoy"
	@$(WITH_ENVOY) && .ci/e2e

test-node: rust
	@echo "== the core in WebAssembly, under Node"
	@runner=$$($(TOOLS) wasm-bindgen-runner) && export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$$runner" && \
	  WASM_BINDGEN_TEST_ONLY_NODE=1 $(NODE) test --locked --test core

e2e: wasm test-e2e ## only the tests in a real Envoy

golden: wasm ## rewrite the golden texts from what the code does now; look at the difference before committing it
	@$(WITH_ENVOY) && BLESS=1 $(CARGO) test --locked --lib --bins --tests

lint: rust ## format, clippy for host and wasm, documentation, licences and advisories
	@echo "== format"
	@$(CARGO) fmt --check
	@echo "== clippy, host"
	@$(CARGO) clippy --locked --quiet --all-targets -- -D warnings
	@echo "== clippy, wasm32-wasip1"
	@if [ "$$($(TOOLS) toolchain wasm32-wasip1)" = rustup ]; then \
	  $(WASI) clippy --locked --quiet --lib -- -D warnings && \
	  $(WASI) clippy --locked --quiet --lib --no-default-features -- -D warnings; \
	else \
	  echo "berth: Debian's toolchain has no clippy: the wasm build gets the compiler's own lints only"; \
	  $(WASI) rustc --locked --quiet --lib --release -- -D warnings; fi
	@echo "== documentation"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --quiet --no-deps --lib
	@echo "== dependencies"
	@$(TOOLS) deny

# --- to ship ---

oci: wasm ## write dist/oci (both image formats of both modules), checksums and a bill of materials; no registry
	@echo "== images"
	@rm -rf dist/oci && for name in berth berth-placement; do \
	  $(NATIVE)/debug/berth pack dist/$$name.wasm -o dist/oci/$$name || exit 1; done
	@echo "== what they are made of"
	@with=$$($(TOOLS) made-with) && $(CARGO) metadata --locked --format-version 1 --filter-platform wasm32-wasip1 | \
	  $(NATIVE)/debug/berth bom --made-with "$$with" > dist/berth.cdx.json
	@cd dist && sha256sum berth.wasm berth-placement.wasm berth.cdx.json | tee SHA256SUMS

reproducible: rust ## build twice from what is committed and compare the bytes
	@.ci/reproducible

compatibility: wasm ## try every feature on Envoy 1.36 to 1.40 and write the table of envoy/deploy.md (half an hour)
	@.ci/compatibility
# What libFuzzer looks at: which edges are taken and what is compared. Not for build scripts, hence the target's name.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
FUZZ_DIR = $(abspath $(NATIVE))/fuzz

fuzz: rust ## every parser of bytes from outside, guided by its code, FUZZ_SECONDS each; FUZZ=NAME for one, FUZZ_KEEP=1 keeps what it found
	@command -v c++ >/dev/null || { echo "berth: no C++ compiler, which libFuzzer is built with: install g++" >&2; exit 2; }
	@host=$$(rustc -vV | sed -n 's/^host: //p') && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --quiet --release \
	  --manifest-path tests/fuzz/Cargo.toml --target $$host --target-dir $(FUZZ_DIR) && \
	  FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $(FUZZ_DIR)/$$host/release/fuzz $(FUZZ_DIR)

MUTANTS_DIR = $(abspath $(NATIVE))/mutants

mutants: rust ## change the gates and stages in over 2,000 small ways and see that the tests notice (most of an hour, goes on where it ended); MUTANTS=0/20 for a share, =survived, or a word
	@$(CARGO) build --locked --quiet --release --manifest-path tests/mutants/Cargo.toml --target-dir $(MUTANTS_DIR)/tool
	@$(MUTANTS_DIR)/tool/release/mutants . $(MUTANTS_DIR)

soak: wasm ## a real Envoy under load, faults and configurations for SOAK_SECONDS (600), and a table of what came of it
	@$(WITH_ENVOY) && SOAK_SECONDS=$${SOAK_SECONDS:-600} $(CARGO) test --locked --quiet --test e2e -- soak --nocapture

# --- to measure ---

bench: rust ## what compiling, deciding and folding cost natively, and how deciding grows
	@$(CARGO) bench --locked --quiet --bench compile --bench health --bench place -- --noplot | awk '\
	  /^Benchmarking/ { next } NF && $$1 != "time:" && $$2 != "time:" && !/[:%\[]/ { name = $$1 } \
	  $$1 == "time:" || $$2 == "time:" { if ($$2 == "time:") { name = $$1; sub(/^[^ ]+ +/, "") } \
	    if (index($$0, "%") == 0) { sub(/.*time: *\[/, ""); sub(/\].*/, ""); split($$0, t, " "); \
	    printf "%-40s %10s %s\n", name, t[3], t[4] } }'
	@$(CARGO) build --locked --quiet --profile bench --example scale
	@$(NATIVE)/release/examples/scale

# Benchmarks that are programs of their own, so that WebAssembly can run them.
PROGRAMS = start scale pulse

bench-wasm: rust ## compiling a policy, deciding, a tick of telemetry, a snapshot: natively and in WebAssembly under Node
	@command -v node >/dev/null || { echo "berth: no node: install Node.js 18 or newer" >&2; exit 2; }
	@for name in $(PROGRAMS); do \
	  $(CARGO) build --locked --quiet --profile bench --example $$name || exit 1; \
	  $(WASI) build --locked --quiet --release --example $$name || exit 1; \
	  kind=$$($(TOOLS) toolchain wasm32-wasip1) && \
	  made=target/wasip1/$$kind/wasm32-wasip1/release/examples/$$name.wasm && \
	  opt=$$($(TOOLS) wasm-opt || true) && \
	  if [ -n "$$opt" ]; then "$$opt" $(WASM_OPT_FLAGS) $$made -o target/$$name.wasm; else cp $$made target/$$name.wasm; fi && \
	  $(NATIVE)/release/examples/$$name && node --no-liftoff benches/wasm.mjs target/$$name.wasm || exit 1; \
	done

# Filters that do nothing, made as the module is.
noops: rust
	@$(WASI) build --locked --quiet --release --example noop_sdk --example noop_raw --example noop_floor
	@for name in sdk raw floor; do \
	  made=target/wasip1/$$($(TOOLS) toolchain wasm32-wasip1)/wasm32-wasip1/release/examples/noop_$$name.wasm; \
	  opt=$$($(TOOLS) wasm-opt || true); \
	  if [ -n "$$opt" ]; then "$$opt" $(WASM_OPT_FLAGS) $$made -o target/noop_$$name.wasm; else cp $$made target/noop_$$name.wasm; fi || exit 1; \
	done

bench-memory: rust ## what Envoy holds for plans over 512 substrates: the route's choice named once, or in each route
	@$(WITH_ENVOY) && $(CARGO) test --locked --quiet --test e2e memory:: -- --nocapture | grep -E "resident|over the header"

BENCH_ENVOY = $(CARGO) build --locked --quiet --profile bench --example envoy && $(NATIVE)/release/examples/envoy

bench-envoy: wasm noops ## what a placement costs on a real Envoy beside Lua and ext_proc (12 minutes); writes benches/envoy.md; QUICK=1: two minutes, only printed
	@$(WITH_ENVOY) && $(BENCH_ENVOY) $(if $(QUICK),quick)

# The other revision is built in a folder of its own, which is kept: the next one takes half the time.
GUARD = target/guard
bench-guard: wasm noops ## fails if a request costs more than 5 % more than at BASE=REVISION (four minutes)
	@[ -n "$(BASE)" ] || { echo "berth: which revision? make bench-guard BASE=REVISION" >&2; exit 2; }
	@rev=$$(git rev-parse --verify --quiet "$(BASE)^{commit}") || { echo "berth: BASE=$(BASE) is no revision" >&2; exit 2; }; \
	if ! [ -f $(GUARD)/$$rev/berth-placement.wasm ]; then \
	  mkdir -p $(GUARD)/tree && find $(GUARD)/tree -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} + && \
	  git archive $$rev | tar -xm -C $(GUARD)/tree && $(MAKE) -C $(GUARD)/tree wasm && \
	  mkdir -p $(GUARD)/$$rev && cp $(GUARD)/tree/dist/berth-placement.wasm $(GUARD)/$$rev/ || exit 2; \
	fi; \
	$(WITH_ENVOY) && $(BENCH_ENVOY) guard $(GUARD)/$$rev
