# Berth: everything a person or a CI runs. `make help` lists it. What a machine lacks is installed once, by .ci/tools.
SHELL = /bin/sh
.DEFAULT_GOAL = help
MAKEFLAGS += --no-print-directory
CARGO ?= cargo
TOOLS = .ci/tools
WASI = CARGO_TARGET_DIR=target/wasip1 $(TOOLS) cargo wasm32-wasip1
# Features that Rust's compiler uses and every Envoy that can run the module knows.
WASM_OPT_FLAGS = -O3 --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int \
  --enable-mutable-globals --enable-multivalue --enable-reference-types --strip-producers
ifdef ENVOY
export ENVOY
endif

.PHONY: help demo up down wasm cli test lint e2e bench bench-wasm bench-envoy bench-guard fuzz soak oci golden

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# --- building ---

wasm: ## build dist/berth.wasm and dist/berth-placement.wasm
	@echo "== the module"
	@$(WASI) build --locked --release --lib
	@$(CARGO) build --locked --quiet --bin berth
	@mkdir -p dist
	@kind=$$($(TOOLS) toolchain wasm32-wasip1) && $${CARGO_TARGET_DIR:-target}/debug/berth trim \
	  target/wasip1/$$kind/wasm32-wasip1/release/berth.wasm \
	  --full dist/.berth.wasm --placement dist/.berth-placement.wasm
	@opt=$$($(TOOLS) wasm-opt); for name in berth berth-placement; do \
	  if [ -z "$$opt" ]; then mv dist/.$$name.wasm dist/$$name.wasm; \
	  else "$$opt" $(WASM_OPT_FLAGS) dist/.$$name.wasm -o dist/.$$name.opt && mv dist/.$$name.opt dist/$$name.wasm && \
	    rm dist/.$$name.wasm; fi || exit 1; \
	  echo "dist/$$name.wasm: $$(wc -c < dist/$$name.wasm) bytes"; done

cli: ## build dist/berth, the tool
	@echo "== the tool"
	@$(CARGO) build --locked --release --bin berth
	@mkdir -p dist && cp $${CARGO_TARGET_DIR:-target}/release/berth dist/berth
