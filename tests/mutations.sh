#!/usr/bin/env bash
# Switches off each safeguard of src/mutation.rs in turn and demands that a test named in tests/mutations.txt fails; first, that all of
# them pass with none off. Prints a line for each; exits 1 if a safeguard's loss is not noticed.
#
#   MUTATIONS   which, e.g. "write-gate log-sync" (default: all)
#   MUTATIONS_TARGET  where to build (default target/mutations; binaries there have switches)
#   PATIENCE    seconds after which a test program that hangs has failed (default 300)
set -uo pipefail
cd "$(dirname "$0")/.."
target=${MUTATIONS_TARGET:-$PWD/target/mutations}
patience=${PATIENCE:-300}
mkdir -p "$target"

# The rows: "name program filters", without comments.
rows() { grep -v '^#' tests/mutations.txt; }

# Builds the test programs and prints "name path" of each.
build() {
    local programs
    programs=$(rows | awk '{print $2}' | sort -u | sed 's/^lib$/--lib/; t; s/^/--test /')
    # shellcheck disable=SC2086
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo test --no-run --quiet --features mutations --target-dir "$target" \
        --bins $programs --message-format=json | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    target = message.get("target", {})
    if message.get("executable") and message["profile"]["test"]:
        kind = target["kind"][0]
        if kind in ("lib", "test"):
            print("lib" if kind == "lib" else target["name"], message["executable"])
'
}

# run MUTATION PROGRAM FILTERS...: whether the tests pass.
run() {
    local mutation=$1 program=$2
    shift 2
    [[ $1 == - ]] && shift
    DURAMEN_MUTATION=$mutation timeout "$patience" "${path[$program]}" --quiet "$@" >"$target/last-output.txt" 2>&1
}

declare -A path filters
while read -r name file; do path[$name]=$file; done < <(build)
while read -r _ program wanted; do
    [[ -n ${path[$program]:-} ]] || { echo "$program was not built"; exit 1; }
    filters[$program]+=" $wanted"
done < <(rows)

failed=0
if [[ -z ${MUTATIONS:-} ]]; then
    for program in "${!filters[@]}"; do
        wanted=${filters[$program]}
        # With no filter for one of its rows all of it runs.
        [[ " $wanted " == *" - "* ]] && wanted=-
        # shellcheck disable=SC2086
        if run "" "$program" $wanted; then
            printf '%-22s %-10s passes\n' "(none)" "$program"
        else
            printf '%-22s %-10s FAILS WITH NOTHING OFF\n' "(none)" "$program"
            tail -n 30 "$target/last-output.txt"
            failed=1
        fi
    done
fi

count=0
while read -r name program wanted; do
    [[ -z ${MUTATIONS:-} || " $MUTATIONS " == *" $name "* ]] || continue
    count=$((count + 1))
    start=$SECONDS
    # shellcheck disable=SC2086
    if run "$name" "$program" $wanted; then
        printf '%-22s %-10s NOT NOTICED by %s\n' "$name" "$program" "$wanted"
        failed=1
    else
        # The tests that failed, of which the first is named.
        first=$(grep -m1 -oP '^---- \K\S+(?= stdout)' "$target/last-output.txt" || echo "no end within $patience s, or a crash")
        printf '%-22s %-10s noticed in %3d s: %s\n' "$name" "$program" $((SECONDS - start)) "$first"
    fi
done < <(rows)
echo "$count safeguards switched off, one by one"
exit $failed
