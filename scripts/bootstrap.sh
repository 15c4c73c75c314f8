#!/bin/sh
# Makes .venv with exactly what requirements.lock names, and the project in it. `make install` calls it when the lock,
# pyproject.toml or this file changed. PYTHON=… chooses another interpreter.
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.8
VENV=.venv

fits() {
    # Runs it: a name on PATH may be a shim of a version manager with nothing behind it.
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

if ! { [ -x "$VENV/bin/python" ] && fits "$VENV/bin/python"; }; then
    found=
    for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
        if fits "$candidate"; then
            found=$candidate
            break
        fi
    done
    if [ -z "$found" ]; then
        echo "No Python 3.11 or 3.12 found; tried: ${PYTHON:-python3.11 python3.12 python3}." >&2
        echo "Install one (Debian 12: apt install python3 python3-venv), or name it: make install PYTHON=/path/to/python" >&2
        exit 1
    fi
    if ! "$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo "$found has no venv module. Debian and Ubuntu pack it apart: apt install python3-venv" >&2
        exit 1
    fi
    echo "making $VENV with $("$found" --version)"
    "$found" -m venv --clear "$VENV"
fi

# uv stands apart from the environment that it fills: it is not in the lock, so a sync would have to spare it.
UV=$VENV/uv/bin/uv
if ! { [ -x "$UV" ] && [ "$("$UV" --version | cut -d' ' -f2)" = "$UV_VERSION" ]; }; then
    rm -rf "$VENV/uv"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --target "$VENV/uv" "uv==$UV_VERSION" ||
        echo "no uv $UV_VERSION for this machine" >&2
fi

with_uv() {
    [ -x "$UV" ] || return 1
    # The machine's own certificates: a company's proxy signs with one that uv does not bring along.
    VIRTUAL_ENV="$PWD/$VENV" UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
    export VIRTUAL_ENV UV_SYSTEM_CERTS
    # Compiled now: a run is a process of its own, and where no bytecode may be written each would compile for seconds.
    "$UV" pip sync --quiet --require-hashes --compile-bytecode requirements.lock && "$UV" pip install --quiet --no-deps --editable .
}

with_pip() {
    # --no-deps: the lock is complete, and pip takes a dependency with extras for another one than the locked.
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
}

echo "installing the locked dependencies (about 1.9 GB on disk)"
if ! with_uv; then
    echo "not with uv; pip does it, which takes some minutes" >&2
    with_pip
fi
touch "$VENV/.installed"
