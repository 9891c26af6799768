#!/usr/bin/env bash
# Tests the service against its OpenAPI document from outside, with third-party tools:
#   1. Redocly lints openapi/openapi.json;
#   2. scripts/clients.sh generates clients for TypeScript, Python, Go and Java, and runs a program with each;
#   3. schemathesis calls every operation with valid and invalid input: no 5xx, no response that violates the document;
#   4. the service exits on SIGTERM with status 0, in time.
#
#   RAPPORT_BINARY=FILE             test this program instead of building one
#   RAPPORT_CONTRACT_SECONDS=N      how long schemathesis may take (900; it takes 4 minutes on two quiet cores)
#   CARGO_FEATURES="..."            feature flags for cargo build (the Makefile sets them)
# Further arguments go to `schemathesis run`, e.g. --include-path /api/v1/leads
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${RAPPORT_CONTRACT_SECONDS:-900}
stop_within=25
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true HYPOTHESIS_STORAGE_DIRECTORY=$PWD/.tools/hypothesis

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'contract.sh: %s\n' "$*" >&2; exit 1; }

# If the system's Node.js is too old, scripts/tools.sh installs a newer one there.
export PATH=$PWD/.tools/nodejs/bin:$PATH
scripts/tools.sh node
scripts/tools.sh python
scripts/tools.sh clients
bin=.tools/node/node_modules/.bin

if [ -n "${RAPPORT_BINARY:-}" ]; then
  binary=$RAPPORT_BINARY
else
  step "Build"
  # shellcheck disable=SC2086 # a list of flags
  cargo build --locked ${CARGO_FEATURES:-} --bin rapport
  binary=${CARGO_TARGET_DIR:-target}/debug/rapport
fi

step "The document: redocly lint"
"$bin/redocly" lint --config tools/contract/redocly.yaml openapi/openapi.json

step "The clients: each generator, then its compiler"
# Go and Java are generated from the OpenAPI 3.0 form.
"$binary" openapi --version 3.0 >.tools/openapi-3.0.json
scripts/clients.sh build openapi/openapi.json .tools/openapi-3.0.json

step "The service, on an empty state folder"
# Under /tmp whatever TMPDIR is: a Unix socket's path may have 107 bytes, and macOS uses most of them. Traversable,
# because PostgreSQL runs as another account when we are root; the server's own folders stay closed.
state=$(mktemp -d /tmp/rapport-contract.XXXXXX)
chmod 711 "$state"
log=$PWD/.tools/contract.log
service=""
stop() { # as a person would; the state folder goes only when PostgreSQL has left it
  if [ -n "$service" ] && kill -0 "$service" 2>/dev/null; then
    kill -TERM "$service" 2>/dev/null || true
    wait "$service" 2>/dev/null || true
  fi
  rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Two ports that were free a moment ago. If one is taken meanwhile, the service fails to start, and so do we.
read -r port metrics_port < <(node -e '
  const net = require("node:net"), servers = [net.createServer(), net.createServer()];
  Promise.all(servers.map((s) => new Promise((done) => s.listen(0, "127.0.0.1", () => done(s.address().port)))))
    .then((ports) => { console.log(ports.join(" ")); servers.forEach((s) => s.close()); });')
export RAPPORT_BIND=127.0.0.1:$port RAPPORT_METRICS_BIND=127.0.0.1:$metrics_port
key=rapport_contract_0123456789abcdefghijklmnopqrstuvwxyz
# The embedded database only: a database configured in the shell must not be attacked.
unset DATABASE_URL REDIS_URL
# Schemathesis sends more unauthenticated requests than the rate limit allows, and expects 401.
RAPPORT_RATE_LIMIT_ADDRESS=0 RAPPORT_STATE_DIR=$state RAPPORT_DEV_API_KEY=$key RAPPORT_LOG=${RAPPORT_LOG:-warn} \
  "$binary" serve >"$log" 2>&1 &
service=$!

for _ in $(seq 1 300); do
  kill -0 "$service" 2>/dev/null || { cat "$log" >&2; fail "the service ended before it was ready."; }
  if "$binary" health >/dev/null 2>&1; then ready=yes; break; fi
  sleep 0.2
done
[ "${ready:-}" = yes ] || { tail -n 50 "$log" >&2; fail "the service was not ready within a minute."; }
echo "ready on $RAPPORT_BIND"

step "The clients' programs"
RAPPORT_URL=http://$RAPPORT_BIND RAPPORT_API_KEY=$key scripts/clients.sh run

step "Every operation: schemathesis, at most $seconds s"
faults=0
# Every operation once through all phases. (With --max-time it goes round until the time is over, and its second round of the stateful
# phase fails an assertion of its own, in 4.32.5.)
# macOS has no timeout.
limit=$(command -v timeout || true)
${limit:+"$limit" "$seconds"} .tools/python/bin/schemathesis --config-file tools/contract/schemathesis.toml run openapi/openapi.json \
  --origin "http://$RAPPORT_BIND" --header "Authorization: Bearer $key" --no-color "$@" |
  tee .tools/schemathesis.txt || faults=1
# If the time limit ended the run before every operation was tested, the run fails.
selected=$(sed -n 's/^ *Selected: \([0-9]*\).*/\1/p' .tools/schemathesis.txt)
tested=$(sed -n 's/^ *Tested: \([0-9]*\).*/\1/p' .tools/schemathesis.txt)
if [ -z "$tested" ] || [ "$tested" != "$selected" ]; then
  echo "contract.sh: only ${tested:-0} of ${selected:-?} operations were tested; raise RAPPORT_CONTRACT_SECONDS." >&2
  faults=1
fi
kill -0 "$service" 2>/dev/null || { tail -n 50 "$log" >&2; fail "the service died under schemathesis."; }
if grep -q 'panicked at' "$log"; then
  grep -A 3 'panicked at' "$log" | head -n 20 >&2
  faults=1
fi

step "SIGTERM"
before=$SECONDS
kill -TERM "$service"
status=0
wait "$service" || status=$?
service=""
took=$((SECONDS - before))
echo "status $status after $took s"
[ "$status" = 0 ] || { tail -n 20 "$log" >&2; fail "the service must end with status 0."; }
[ "$took" -le "$stop_within" ] || fail "the service must end within $stop_within s."
[ "$faults" = 0 ] || fail "the service broke its contract (above); its log is .tools/contract.log."
printf '\ncontract: kept\n'
