#!/usr/bin/env bash
# Installs what Skep's builds need and this machine lacks. Says what, before it does it.
#
#   dev/setup.sh build          what `make run` needs
#   dev/setup.sh build test     … and what `make test` needs
#   dev/setup.sh build vm lint  likewise
set -euo pipefail

need_rust=1.95
missing=()

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# want PACKAGE CHECK...: PACKAGE is missing unless the command CHECK succeeds.
want() {
    local package=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        missing+=("$package")
    fi
}

have_package() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# The version of a command as "major.minor"; nothing when it is not there.
version_of() { "$@" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1; }

at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

candidate_of() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ { print $2 }' | grep -oE '[0-9]+\.[0-9]+' | head -n 1; }

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "missing: ${missing[*]} (Debian's names); install them with this system's package manager"
        exit 1
    fi
    say "installing with apt-get: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    missing=()
}

# The first of the named packages that this release of the system offers.
first_offered() {
    local package
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    echo "$1"
}

build() {
    want gcc command -v cc
    want make command -v make
    want pkg-config command -v pkg-config
    want libelf-dev pkg-config --exists libelf
    want zlib1g-dev pkg-config --exists zlib
    install_missing
    rust
}

# Rust, from whichever of rustup and the system's packages is here and new enough.
rust() {
    if at_least "$(version_of cargo)" $need_rust && at_least "$(version_of rustc)" $need_rust; then
        return
    fi
    if command -v rustup >/dev/null; then
        say "rustc is $(version_of rustc || true), $need_rust is needed; updating it with rustup"
        rustup toolchain install stable --profile minimal -c clippy -c rustfmt
        rustup default stable
    elif at_least "$(candidate_of cargo-web)" $need_rust; then
        missing+=(cargo-web rustc-web)
        install_missing
    elif command -v apt-cache >/dev/null && apt-cache show rustup >/dev/null 2>&1; then
        missing+=(rustup)
        install_missing
        rustup toolchain install stable --profile minimal -c clippy -c rustfmt
        rustup default stable
    else
        as_root apt-get update -qq || true
        if at_least "$(candidate_of cargo-web)" $need_rust; then
            missing+=(cargo-web rustc-web)
            install_missing
        else
            say "Rust $need_rust or newer is missing; https://www.rust-lang.org/tools/install says how to get it"
            exit 1
        fi
    fi
}

# Builds eBPF objects and rebuilds guests. Tests that lack a guest toolchain say so; those that lack clang fail.
test_tools() {
    if ! command -v clang-19 >/dev/null && ! command -v clang >/dev/null; then
        missing+=("$(first_offered clang-19 clang)")
    fi
    if ! command -v wasm-ld-19 >/dev/null && ! command -v wasm-ld >/dev/null; then
        missing+=("$(first_offered lld-19 lld)")
    fi
    want wasi-libc have_package wasi-libc
    if ! have_package libclang-rt-19-dev-wasm32 && command -v apt-cache >/dev/null; then
        if apt-cache show libclang-rt-19-dev-wasm32 >/dev/null 2>&1; then
            missing+=(libclang-rt-19-dev-wasm32)
        fi
    fi
    want iproute2 command -v ip
    install_missing
}

vm_tools() {
    want qemu-system-x86 command -v qemu-system-x86_64
    want busybox-static have_package busybox-static
    want cpio command -v cpio
    want debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
    install_missing
}

# cargo-deny is built without optimisation: a minute instead of five, and it runs for two seconds.
lint_tools() {
    if ! command -v cargo-deny >/dev/null && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-deny" ]; then
        say "installing with cargo: cargo-deny"
        cargo install --quiet --debug --locked --no-default-features --version ^0.20 cargo-deny
    fi
}

for part in "$@"; do
    case $part in
    build) build ;;
    test) test_tools ;;
    vm) vm_tools ;;
    lint) lint_tools ;;
    *)
        say "no such part: $part (build, test, vm, lint)"
        exit 2
        ;;
    esac
done
