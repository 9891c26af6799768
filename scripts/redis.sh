#!/bin/sh
# Prints the path of a redis-server or valkey-server that runs here, for the tests. Only the path goes to standard
# output. If none is installed, Debian's package is unpacked into a cache; the system is not changed.
#
#   RAPPORT_TEST_REDIS_SERVER=FILE  use this one, without searching
#   RAPPORT_REDIS_SKIP_SYSTEM=1     ignore installed servers: use the cache, else download
set -eu

runs() { "$1" --version >/dev/null 2>&1; }

if [ -n "${RAPPORT_TEST_REDIS_SERVER:-}" ]; then
  runs "$RAPPORT_TEST_REDIS_SERVER" && { printf '%s\n' "$RAPPORT_TEST_REDIS_SERVER"; exit 0; }
  echo "redis.sh: RAPPORT_TEST_REDIS_SERVER=$RAPPORT_TEST_REDIS_SERVER does not run." >&2
  exit 1
fi
if [ -z "${RAPPORT_REDIS_SKIP_SYSTEM:-}" ]; then
  for name in redis-server valkey-server; do
    if found=$(command -v "$name") && runs "$found"; then printf '%s\n' "$found"; exit 0; fi
  done
fi

give_up() {
  cat >&2 <<EOT
redis.sh: no redis-server and no valkey-server: $1
Any one of these helps:
  - install it:  apt-get install redis-server   |   dnf install valkey   |   brew install redis
  - name one:    RAPPORT_TEST_REDIS_SERVER=/path/to/redis-server
EOT
  exit 1
}
[ "$(uname -s)" = Linux ] || give_up "not on PATH."
command -v apt-get >/dev/null 2>&1 ||
  give_up "not on PATH, and this is no Debian to unpack its package from."

# Same cache folders as postgres.sh: the tests may run the server as an account that cannot enter root's home.
if [ "$(id -u)" = 0 ]; then
  cache=/var/cache/rapport
  mkdir -p "$cache" 2>/dev/null || cache=/var/tmp/rapport-cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/rapport
fi
mkdir -p "$cache"
[ -O "$cache" ] || give_up "$cache belongs to another account; remove it."
[ "$(id -u)" != 0 ] || chmod 755 "$cache"

# shellcheck disable=SC1091 # a file of the system
home=$cache/redis-$(. /etc/os-release && printf '%s' "${ID:-linux}-${VERSION_ID:-rolling}")-$(dpkg --print-architecture)
if runs "$home/redis-server"; then printf '%s\n' "$home/redis-server"; exit 0; fi

echo "No Redis on this machine: unpacking the distribution's package into $cache (3 MB, once) ..." >&2
work=$(mktemp -d "$cache/.redis.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/root" "$work/debs" "$work/lists/partial" "$work/archives/partial"

# The program is in redis-tools. Its own libraries are copied too, so that the copy survives system updates, except
# those that every Debian has because apt needs them: a second C library beside the system's loader fails.
wanted() {
  echo redis-tools
  apt-cache "$@" depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances redis-tools |
    sed -n 's/^ *|\{0,1\}Depends: \(l[iu][ab][a-z0-9.+-]*\)$/\1/p' | grep -vE '^(libc6|libgcc-s1|libstdc\+\+6|libsystemd0)$'
}
download() ( # with apt's options as arguments
  packages=$(wanted "$@") || exit 1
  cd "$work/debs"
  # shellcheck disable=SC2086 # a list of names
  apt-get "$@" download $packages
)
# The system's package lists first. If they are empty or outdated (a fresh image), fetch private lists: that needs no
# root and does not change the system's.
sandbox="-o APT::Sandbox::User=$(id -un)"
private="$sandbox -o Dir::State::Lists=$work/lists -o Dir::Cache=$work/archives"
# shellcheck disable=SC2086 # lists of options
if ! download $sandbox >"$work/log" 2>&1; then
  rm -f "$work/debs/"*
  { apt-get $private update && download $private; } >>"$work/log" 2>&1 ||
    give_up "downloading the package failed: $(grep -E '^(E|W):' "$work/log" | tail -n 1)"
fi
for deb in "$work/debs/"*.deb; do dpkg-deb -x "$deb" "$work/root"; done

rm -rf "$work/root/usr/share" "$work/root/etc"
# The package for the service holds only this link; the program asks for the name that it was called by.
[ -e "$work/root/usr/bin/redis-server" ] || ln -s redis-check-rdb "$work/root/usr/bin/redis-server"
cat >"$work/root/redis-server" <<'EOT'
#!/bin/sh
# Made by scripts/redis.sh: starts the unpacked program with the libraries that lie beside it.
here=$(cd "$(dirname "$0")" && pwd)
for folder in "$here"/usr/lib/*-linux-* "$here"/lib/*-linux-*; do
  LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$here/usr/bin/redis-server" "$@"
EOT
chmod 755 "$work/root/redis-server" "$work/root"
runs "$work/root/redis-server" || give_up "the unpacked program does not start: $("$work/root/redis-server" --version 2>&1 | tail -n 1)"
rm -rf "$home"
mv "$work/root" "$home"
printf '%s\n' "$home/redis-server"
