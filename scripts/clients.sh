#!/usr/bin/env bash
# Generates API clients from the OpenAPI document with six generators, compiles them strictly, and runs one program with
# each against a service. scripts/contract.sh calls it; docs/CLIENTS.md describes the clients.
#   scripts/clients.sh build DOCUMENT DOCUMENT_3_0    any warning of a generator or a compiler is an error
#   scripts/clients.sh run                            needs RAPPORT_URL and RAPPORT_API_KEY
# Go and Java need a JDK. Without one they are skipped with a warning; with CI set that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH=$root/.tools/nodejs/bin:$PATH
programs=$root/tools/contract/clients
# Beside node_modules, so that plain imports resolve.
typescript=$root/.tools/node/clients
generated=$root/.tools/generated
log=$root/.tools/clients.log
node_bin=$root/.tools/node/node_modules/.bin
python_bin=$root/.tools/clients/bin

absolute() { case $1 in /*) echo "$1" ;; *) echo "$root/$1" ;; esac }
fail() { printf 'clients.sh: %s\n' "$*" >&2; exit 1; }

# Runs a command whose output has no place on the screen unless it failed or has a line that matches the pattern.
silent_unless() {
  local pattern=$1 began=$SECONDS name=$2
  shift 2
  if ! "$@" >"$log" 2>&1; then tail -n 40 "$log" >&2; fail "$name failed."; fi
  if grep -E "$pattern" "$log" >&2; then fail "$name has warnings."; fi
  printf '%-40s %3d s\n' "$name" $((SECONDS - began))
}
any_warning='[Ww]arn|WARN|ERROR|[Dd]eprecat'
compiles() { silent_unless . "$@"; }

have_jdk() {
  java_version=$(javac -version 2>/dev/null | sed -n 's/^javac \([0-9]*\).*/\1/p')
  [ -n "$java_version" ] && [ "$java_version" -ge 17 ]
}
openapi_generator() { # short options keep the generator's JVM, which lives for seconds, from compiling itself well
  java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -jar "$jar" generate --input-spec "$document_3_0" \
    --global-property models,apis,supportingFiles,apiTests=false,modelTests=false,apiDocs=false,modelDocs=false "$@"
}

build_typescript() {
  rm -rf "$typescript"
  mkdir -p "$typescript"
  cp -R "$programs/tsconfig.json" "$programs"/{openapi-fetch,orval,hey-api} "$typescript/"
  cd "$typescript"
  export DOCUMENT=$document
  silent_unless "$any_warning" "openapi-typescript" \
    "$node_bin/openapi-typescript" "$document" --output openapi-fetch/api.ts
  silent_unless "$any_warning" "orval" "$node_bin/orval" --config orval/orval.config.mjs
  silent_unless "$any_warning" "Hey API" "$node_bin/openapi-ts" --file hey-api/openapi-ts.config.mjs
  compiles "  tsc --strict, all three" "$node_bin/tsc" --project tsconfig.json --strict
  cd "$root"
}

build_python() {
  rm -rf "$generated/python"
  mkdir -p "$generated/python"
  cd "$generated/python"
  PATH=$python_bin:$PATH silent_unless "$any_warning" "openapi-python-client" \
    "$python_bin/openapi-python-client" generate --path "$document" --config "$programs/python/config.yaml" \
    --meta none --output-path rapport --fail-on-warning
  cp "$programs/python/leads.py" .
  compiles "  compileall" "$python_bin/python" -m compileall -q .
  silent_unless 'error|warning' "  mypy --strict" "$python_bin/mypy" --config-file "$programs/python/mypy.ini" \
    --cache-dir "$root/.tools/mypy" rapport leads.py
  cd "$root"
}

build_go() {
  rm -rf "$generated/go"
  silent_unless ' (WARN|ERROR) ' "openapi-generator, Go" openapi_generator --generator-name go \
    --output "$generated/go" --git-user-id example --git-repo-id rapport \
    --parameter-name-mappings type=eventType --model-name-mappings type=EventTypePattern \
    --additional-properties packageName=rapport,disallowAdditionalPropertiesIfNotPresent=false
  mkdir -p "$generated/go/leads"
  cp "$programs/go/main.go" "$generated/go/leads/"
  cd "$generated/go"
  # The standard library is enough: with no proxy, a module that the code needs besides is an error.
  export GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod GOWORK=off
  compiles "  go build" "$python_bin/go" build -o leads/leads ./leads
  compiles "  go vet" "$python_bin/go" vet ./...
  cd "$root"
}

build_java() {
  rm -rf "$generated/java"
  silent_unless ' (WARN|ERROR) ' "openapi-generator, Java" openapi_generator --generator-name java --library native \
    --output "$generated/java" --additional-properties \
"invokerPackage=rapport.client,apiPackage=rapport.client.api,modelPackage=rapport.client.model,\
openApiNullable=false,containerDefaultToNull=true,useSingleRequestParameter=true,enumUnknownDefaultCase=true,\
disallowAdditionalPropertiesIfNotPresent=false"
  # What the generator's templates do: Jackson's deprecated methods, and serialisers without a serialVersionUID.
  local lint=all,-serial,-deprecation
  [ "$java_version" -lt 21 ] || lint=$lint,-this-escape
  find "$generated/java/src/main" "$programs/java" -name '*.java' >"$generated/java/sources"
  # The generator's jar contains Jackson.
  compiles "  javac -Xlint:all -Werror" javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -proc:none "-Xlint:$lint" \
    -Werror -XDsuppressNotes -classpath "$jar" -d "$generated/java/classes" "@$generated/java/sources"
}

build() {
  document=$(absolute "$1") document_3_0=$(absolute "$2")
  rm -rf "$generated"
  mkdir -p "$generated"
  build_typescript
  build_python
  if have_jdk; then
    jar=$(echo .tools/clients/lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar)
    jar=$root/$jar
    build_go
    build_java
    cp "$jar" "$generated/java/"
  elif [ -n "${CI:-}" ]; then
    fail "JDK 17 or newer is needed (apt-get install default-jdk-headless, brew install openjdk)."
  else
    echo "WARNING: the clients of Go and Java are NOT tested, because there is no JDK 17 or newer" >&2
    echo "         (apt-get install default-jdk-headless, brew install openjdk)." >&2
  fi
}

program() { # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; fail "the program of $name failed."; }
  printf '%-22s %s\n' "$name" "$(tail -n 1 "$log")"
}

run() {
  program "openapi-fetch" node "$typescript/out/openapi-fetch/leads.js"
  program "openapi-fetch, include" node "$typescript/out/openapi-fetch/list-contacts.js"
  program "orval" node "$typescript/out/orval/leads.js"
  program "Hey API" node "$typescript/out/hey-api/leads.js"
  (cd "$generated/python" && program "openapi-python-client" "$python_bin/python" leads.py)
  [ -d "$generated/go" ] || return 0
  program "Go" "$generated/go/leads/leads"
  program "Java" java -classpath "$generated/java/classes:$generated/java/openapi-generator.jar" Leads
}

case ${1:-} in
  build) [ $# = 3 ] || fail "build DOCUMENT DOCUMENT_3_0"; build "$2" "$3" ;;
  run) run ;;
  *) fail "one of: build, run" ;;
esac
