#!/usr/bin/env bash
# Installs what the tests need and runs them all. One closing line per stage; fails if any stage does.
#
#   DURAMEN_BIN    another server binary (default: the debug build)
#   TORTURE_ROUNDS crashes of each mode of `duramen torture` (default 10; 2 of a full disk)
#   TORTURE_SEEDS  simulated histories (default 2000)
#   FUZZ_RUNS      executions of each fuzz target in the stage `fuzz` (default 20000)
#   STAGES         which stages, e.g. "cargo clients" (default: install cargo clients torture; `fuzz`, `mutations` on request)
set -uo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
stages=${STAGES:-install cargo clients torture}
environment=target/test-env
failed=0

say() { printf '== %s\n' "$*"; }

# stage NAME COMMAND...: runs it if wanted, times it, remembers failure.
stage() {
    local name=$1 start=$SECONDS
    shift
    [[ " $stages " == *" $name "* ]] || return 0
    if "$@"; then
        say "$name: passed in $((SECONDS - start)) s"
    else
        say "$name: FAILED after $((SECONDS - start)) s"
        failed=1
    fi
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
    local missing=()
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v redis-benchmark >/dev/null || missing+=(redis-tools)
    command -v strace >/dev/null || missing+=(strace)
    command -v ps >/dev/null || missing+=(procps)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v npm >/dev/null || missing+=(nodejs npm)
    [[ ${#missing[@]} -eq 0 ]] && return 0
    say "installing ${missing[*]}"
    local running
    running=$(pidof redis-server || true)
    as_root apt-get update -qq || return 1
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || return 1
    # The package starts a server of its own; the tests start theirs.
    if [[ -z $running ]]; then
        as_root service redis-server stop >/dev/null 2>&1 || true
    fi
}

install_clients() {
    local wanted
    wanted=$(sha256sum tests/clients/requirements*.txt)
    if [[ ! -x $environment/bin/python || $(cat $environment/installed 2>/dev/null) != "$wanted" ]]; then
        rm -rf $environment
        python3 -m venv $environment || return 1
        $environment/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt || return 1
        # arq wants an older redis-py than the others: it stands on a path of its own.
        $environment/bin/pip install --quiet --disable-pip-version-check --target $environment/arq \
            -r tests/clients/requirements-arq.txt || return 1
        printf '%s\n' "$wanted" >$environment/installed
    fi
    local lock=tests/clients/node/package-lock.json copy=tests/clients/node/node_modules/.installed
    if ! cmp -s $lock $copy; then
        (cd tests/clients/node && npm ci --no-audit --no-fund --loglevel=error) || return 1
        cp $lock $copy
    fi
}

install() { install_packages && install_clients; }

# Crashes of processes have a stage of their own.
run_cargo() {
    local failed=0
    cargo test --quiet --no-fail-fast -- --skip processes_ || failed=1
    check_fuzz || failed=1
    run_loom || failed=1
    return $failed
}

# The fuzz targets compile, on the stable toolchain. libFuzzer's own half is C++.
check_fuzz() {
    if ! command -v "${CXX:-c++}" >/dev/null; then
        say "fuzz targets are not checked: no C++ compiler (${CXX:-c++}), which libfuzzer-sys builds with"
        return 0
    fi
    cargo check --quiet --locked --manifest-path fuzz/Cargo.toml
}

# Every target for a bounded number of executions, on nightly with AddressSanitizer.
run_fuzz() {
    if ! cargo fuzz --version >/dev/null 2>&1; then
        say "fuzz: nothing is run: cargo-fuzz is not installed (cargo install cargo-fuzz --version 0.13.2 --locked)"
        return 0
    fi
    if ! cargo +nightly --version >/dev/null 2>&1; then
        say "fuzz: nothing is run: there is no nightly toolchain (rustup toolchain install nightly)"
        return 0
    fi
    cargo test --quiet --test fuzz_bodies seeds_are_written_for_cargo_fuzz || return 1
    # Of two settings of one option the last counts: what the caller says of others stays, and so do suppressions of its own.
    local options=suppressions=$PWD/fuzz/leaks.txt:${LSAN_OPTIONS:-}
    local target failed=0
    for target in $(cargo fuzz list); do
        local seeds=target/fuzz-seeds/$target found=fuzz/artifacts/found/$target
        mkdir -p "$seeds" "$found" "fuzz/corpus/$target"
        LSAN_OPTIONS=$options cargo +nightly fuzz run "$target" "$found" "$seeds" "fuzz/corpus/$target" -- \
            -runs="${FUZZ_RUNS:-20000}" -max_total_time=300 -max_len=4096 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 || failed=1
        # An empty folder is no corpus.
        rmdir "fuzz/corpus/$target" 2>/dev/null || true
    done
    return $failed
}

# In every interleaving: the hand-over from log to connections, the locking of stripes.
run_loom() { cargo test --quiet --locked --manifest-path tests/loom/Cargo.toml --target-dir target/loom; }

run_clients() { cargo build --quiet && $environment/bin/python tests/clients/run.py; }

run_torture() { cargo test --quiet --test torture_tool processes_ -- --nocapture --test-threads 1; }

stage install install
if [[ $failed -ne 0 ]]; then
    exit 1
fi
stage cargo run_cargo
stage clients run_clients
stage torture run_torture
stage fuzz run_fuzz
stage mutations tests/mutations.sh
if [[ $failed -ne 0 ]]; then
    say "FAILED"
else
    say "all passed"
fi
exit $failed
