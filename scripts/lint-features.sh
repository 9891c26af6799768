#!/bin/sh
# Fails where the tests' dependencies switch on features of a crate that the program needs as well: `make test` after
# `make run` would compile that crate, all that depends on it, and this one once more.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# features EDGES: crates with their features, one a line.
features() {
  cargo tree --locked --quiet --prefix none --format '{p}: {f}' --edges "$1" | sed 's/ (\*)$//' | sort -u
}

features normal,build > "$folder/program"
features normal,build,dev > "$folder/tests"
changed=$(comm -23 "$folder/program" "$folder/tests")
if [ -n "$changed" ]; then
  echo "The tests need more features of these crates. Name them under [dependencies] in Cargo.toml, too:" >&2
  echo "$changed" | cut -d: -f1 | while read -r name version _; do
    echo "  $name: $(grep -h "^$name $version[ :]" "$folder/tests" | cut -d: -f2- | tr '\n' ';')" >&2
  done
  exit 1
fi
