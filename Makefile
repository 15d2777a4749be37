# Skep: `make help` lists the targets. `make run` and `make test` do all the set-up on a fresh Debian or Ubuntu machine:
# what is missing is named first, then installed through the machine's package manager.

CARGO  ?= cargo
PREFIX ?= /usr/local
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
TARGET := $(or $(CARGO_TARGET_DIR),target)
SKEP   := $(TARGET)/release/skep
XTASK   = $(CARGO) run --quiet -p xtask --

.DEFAULT_GOAL := help
.PHONY: help run build test vm lint deny fuzz bench examples docs install uninstall setup-build setup-test setup-fuzz setup-vm setup-lint setup-bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build skep, then show this machine's EXEC and EXIT events for ten seconds
	@dev/run.sh $(SKEP)

build: setup-build ## build target/release/skep
	$(CARGO) build --release --locked -p skep-cli

test: setup-test ## run every test; those that need the kernel run as root
	$(XTASK) test

vm: setup-vm ## run the kernel checks on Linux 6.1 and 6.12 under qemu
	$(XTASK) vm

lint: setup-lint ## formatting, clippy and rustdoc without a warning, then `make deny`
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items
	@$(MAKE) --no-print-directory deny

deny: setup-lint ## licences, bans and sources of the dependencies (deny.toml)
	$(CARGO) deny --locked check licenses bans sources

fuzz: setup-fuzz ## feed generated and damaged modules and recordings to skep's readers and compiler for a minute each, guided by coverage
	$(XTASK) fuzz

bench: build setup-bench ## measure skep beside native programs; rewrites benches/RESULTS.md
	$(XTASK) bench

examples: setup-test ## rebuild the sample guests from their sources
	$(CARGO) run --quiet -p skep-dev -- examples --skip-missing

docs: ## check that what the documentation says is so
	$(XTASK) docs check

install: build ## install skep, its man page and shell completions under PREFIX
	@dev/install.sh $(SKEP) "$(DESTDIR)$(PREFIX)"

uninstall: ## remove what `make install` put under PREFIX
	@dev/install.sh --remove "$(DESTDIR)$(PREFIX)"

setup-build:
	@dev/setup.sh build

setup-test:
	@dev/setup.sh build test

setup-fuzz:
	@dev/setup.sh build fuzz

setup-vm:
	@dev/setup.sh build vm

setup-lint:
	@dev/setup.sh build lint

setup-bench:
	@dev/setup.sh build bench
