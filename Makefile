# What a newcomer runs. CARGO can name another cargo.
CARGO ?= cargo

.PHONY: demo test interop lint golden corpus bench bench-quick bench-generator size scale guard \
	guard-update bench-record fuzz

# A server and a client, two processes, one call of each kind; with FLAVOUR=blocking without
# an asynchronous runtime.
demo:
	@$(CARGO) run --quiet --package ttrpc-demo -- $(if $(FLAVOUR),--$(FLAVOUR))

# All tests. Real protoc comes with a crate; buf is used where there is npm.
test:
	$(CARGO) test --workspace --all-features

# The protocol's cases, of both flavours, against each other and the Go implementation, both
# ways; with RIVALS=1 against the other implementations in Rust as well.
interop:
	$(CARGO) run --quiet --package ttrpc-interop -- $(if $(RIVALS),--rivals)

# Format, lints and docs, with every warning an error; each feature alone.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	for features in "" tokio blocking protobuf prost buffa; do \
		$(CARGO) clippy --package ttrpc-runtime --all-targets --no-default-features \
			--features "$$features" -- -D warnings || exit 1; \
		RUSTDOCFLAGS="-D warnings" $(CARGO) doc --package ttrpc-runtime --no-deps \
			--no-default-features --features "$$features" || exit 1; \
	done
	$(CARGO) clippy --package protoc-gen-ttrpc --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features
	$(CARGO) fmt --manifest-path testdata/bench/Cargo.toml --all --check
	$(CARGO) fmt --manifest-path testdata/fuzz/Cargo.toml --check

# Rewrites the expected outputs of the generator.
golden:
	UPDATE_GOLDEN=1 $(CARGO) test --package protoc-gen-ttrpc --lib --test golden

# Generates and compiles what real projects have in .proto files, which come in packages
# from crates.io, PyPI and Go's proxy.
corpus:
	$(CARGO) build --package protoc-gen-ttrpc
	@$(CARGO) run --quiet --package ttrpc-corpus -- $(TARGET)/debug/protoc-gen-ttrpc target/corpus

# What hostile peers and odd inputs lead to, found by libFuzzer: SECONDS for each target. It goes
# on from what earlier runs have left in target/fuzz.
SECONDS ?= 30

fuzz:
	$(subst run --quiet,build,$(FUZZ))
	@for target in server client cuts envelope generator; do \
		found=target/fuzz/$$target; \
		mkdir -p $$found; \
		if $(FUZZ) --bin $$target -- $$found -max_total_time=$(SECONDS) -timeout=10 \
			-rss_limit_mb=1024 -max_len=4096 -artifact_prefix=$$found- >$$found.log 2>&1; \
		then echo "$$target: $$(grep DONE $$found.log)"; \
		else \
			grep -v '^#' $$found.log | tail -n 50; \
			echo "again: $(FUZZ) --bin $$target -- $$(ls -t $$found-* | head -n 1)"; \
			exit 1; \
		fi; \
	done

FUZZ = RUSTC_WRAPPER=$(CURDIR)/testdata/fuzz/instrument $(CARGO) run --quiet --release --locked \
	--manifest-path testdata/fuzz/Cargo.toml --target-dir target/fuzz/build

TARGET = $(or $(CARGO_TARGET_DIR),target)

# Calls and messages per second of ours, of the bare frames and of the rivals, against the
# goals; all of them, and in under five minutes the five that tell most.
bench:
	$(BENCH) rates
	$(BENCH) rates --cpus free

bench-quick:
	@$(BENCH) rates --quick

# What it takes to be there and what a call takes; and both as connections and streams grow.
size scale:
	$(BENCH) $@

# Fails where a call takes more instructions or allocations than committed; the other one
# commits to what it takes now.
guard:
	$(BENCH) guard

guard-update:
	$(BENCH) guard --update

# Keeps what bench, size and scale have left in target/bench.
bench-record:
	$(BENCH) record

BENCH = $(CARGO) run --quiet --release --locked --manifest-path testdata/bench/Cargo.toml \
	--target-dir target/bench/build --package bench-runner --

# Time and memory of the generator for a request of googleapis' size, and what a compiler
# takes for generated services beside those that tonic generates.
bench-generator:
	$(CARGO) build --release --package protoc-gen-ttrpc --package ttrpc-corpus
	@$(TARGET)/release/googleapis_sized $(TARGET)/release/protoc-gen-ttrpc
	@$(TARGET)/release/googleapis_sized $(TARGET)/release/protoc-gen-ttrpc \
		messages=none message_path=crate::protos flavours=async+blocking
	@$(BENCH) compile
