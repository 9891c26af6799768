#!/bin/sh
# Finds ways of writing code that the house has left. docs/ARCHITECTURE.md says what stands in their place.
set -eu
cd "$(dirname "$0")/.."
failed=0

# refuse WHY PATTERN PATHS...
refuse() {
  why=$1 pattern=$2
  shift 2
  if found=$(git grep -nE "$pattern" -- "$@"); then
    printf '%s:\n%s\n' "$why" "$found" >&2
    failed=1
  fi
}

refuse "SQL is static text: write it with .sql(), .ident(), .number() and .bind()" \
  'push\(&format!\(|Statement::new\(format!\(' 'src/*.rs'
refuse "cells are read by name: load a struct, or a scalar" \
  '\.(text|int|uuid|get)\([0-9]+\)' 'src/*.rs' ':!src/resource/row_json.rs' ':!src/db/raw_row.rs'
refuse "days are those of src/base/zones.rs: PostgreSQL's data of time zones may be years old" \
  "AT TIME ZONE ([^'U]|'[^U])|\\btimezone\(|date_trunc\(|current_date|localtimestamp" 'src/*.rs' 'src/*.sql' 'migrations/*/up.sql'
refuse "operations are described on their handlers, with utoipa" \
  '(struct|enum) (Act|Gives|Part|Shape)\b' 'src/*.rs'
exit $failed
