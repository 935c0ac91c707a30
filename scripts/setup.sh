# Sourced by the other scripts: finds a Python, makes .venv and installs the locked packages into it.
# shellcheck shell=sh

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.locked # which lock file is installed, for which folder

say() { printf 'fleet: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# The first Python of at least 3.11, or nothing. $PYTHON goes before all others.
find_python() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

# Install Debian packages as root; 1 if this is no root or no Debian.
apt_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    say "installing with apt: $*"
    { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; }
    } >/dev/null </dev/null
}

# Make .venv, by the first way that works: venv, venv after installing Debian's part of it, virtualenv.
make_venv() {
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is needed (set PYTHON if it is not on PATH); on Debian 12 or" \
        "Ubuntu 24.04: apt-get install python3 python3-venv"
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    say "making .venv with $("$python" --version) ($python)"
    if "$python" -m venv --clear "$VENV" >/dev/null 2>&1; then return; fi
    if apt_install "$package" && "$python" -m venv --clear "$VENV"; then return; fi
    if "$python" -m virtualenv --clear -q "$VENV" 2>/dev/null; then return; fi
    rm -rf "$VENV"
    fail "$python cannot make a virtual environment. Install what is missing and run this again:" \
        "sudo apt-get install $package"
}

# Is there a .venv, made here (its programs name its folder), with pip and a new enough Python?
is_usable_venv() {
    is_new_enough "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 &&
        head -n 1 "$VENV/bin/pip" | grep -qF "$VENV/bin/"
}

# Install the packages of a lock file, and the project itself, unless they are there already.
install_locked() {
    lock=$ROOT/$1
    want="$1 $(cksum <"$lock") $ROOT"
    if [ "$(cat "$STAMP" 2>/dev/null)" = "$want" ] && [ -x "$VENV/bin/inv" ]; then return; fi
    if ! is_usable_venv; then make_venv; fi
    say "installing the packages of $1"
    pip="$VENV/bin/python -m pip --disable-pip-version-check -qq"
    $pip install --require-hashes -r "$lock" ||
        fail "the packages of $1 could not be installed; what pip says is above"
    $pip install --no-deps --no-build-isolation -e "$ROOT" || fail "the project itself could not be installed"
    printf '%s\n' "$want" >"$STAMP"
}
