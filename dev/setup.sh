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

# A fresh machine has no package lists, and old ones name packages that are gone.
update_lists() {
    [ -z "${lists_updated:-}" ] || return 0
    command -v apt-get >/dev/null || return 0
    say "updating apt's package lists"
    as_root apt-get update -qq
    lists_updated=yes
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
    update_lists
    say "installing with apt-get: ${missing[*]}"
    # A machine that installs its own updates may hold the lock for a while.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2
    missing=()
}

# The first of the named packages that this release of the system offers.
first_offered() {
    local package
    update_lists >&2
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
    want ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
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
    say "Rust $need_rust or newer is needed; here is: $(version_of rustc || true)"
    if ! command -v rustup >/dev/null; then
        update_lists
        if at_least "$(candidate_of cargo-web)" $need_rust; then
            # Debian keeps these new enough to build browsers.
            missing+=(cargo-web rustc-web)
            install_missing
            return
        elif apt-cache show rustup >/dev/null 2>&1; then
            missing+=(rustup)
            install_missing
        else
            say "no package of this system has it; https://www.rust-lang.org/tools/install says how to get it"
            exit 1
        fi
    fi
    say "installing with rustup: the stable tool chain"
    rustup toolchain install stable --profile minimal -c clippy -c rustfmt
    rustup default stable
}

# Compilers for eBPF objects and for guests in C; guests in Rust and Go are rebuilt where their compilers are.
test_tools() {
    want_tool clang-19 clang clang-19 clang-20 clang-21 clang
    want_tool llvm-19 llvm llvm-strip-19 llvm-strip-20 llvm-strip-21 llvm-strip
    want_tool lld-19 lld wasm-ld-19 wasm-ld-20 wasm-ld-21 wasm-ld
    want wasi-libc have_package wasi-libc
    want libclang-rt-19-dev-wasm32 have_package libclang-rt-19-dev-wasm32
    # Debian's own package; on Ubuntu it comes with the kernel's tools.
    if ! PATH=$PATH:/usr/sbin command -v bpftool >/dev/null; then
        missing+=("$(first_offered bpftool linux-tools-generic)")
    fi
    want iproute2 command -v ip
    install_missing
}

# want_tool PACKAGE ELSE COMMAND...: one of the commands, from PACKAGE or, where this release lacks it, from ELSE.
want_tool() {
    local package=$1 otherwise=$2 command
    shift 2
    for command in "$@"; do
        command -v "$command" >/dev/null && return
    done
    missing+=("$(first_offered "$package" "$otherwise")")
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

# libFuzzer is C++, compiled with the target.
fuzz_tools() {
    want g++ command -v c++
    install_missing
}

# What the bench compares with, and the compilers of what it measures.
bench_tools() {
    test_tools
    want bpftrace command -v bpftrace
    install_missing
}

for part in "$@"; do
    case $part in
    build) build ;;
    test) test_tools ;;
    vm) vm_tools ;;
    lint) lint_tools ;;
    fuzz) fuzz_tools ;;
    bench) bench_tools ;;
    *)
        say "no such part: $part (build, test, vm, lint, fuzz, bench)"
        exit 2
        ;;
    esac
done
