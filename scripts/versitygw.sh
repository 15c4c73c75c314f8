#!/bin/sh
# Builds versitygw, the S3 server of tests, `make soak` and `make bench`, into .tools: it needs Go, and about two minutes
# the first time. One of this version that stands there stays.
set -eu
cd "$(dirname "$0")/.."

VERSION=v1.8.0
BUILT=.tools/versitygw-$VERSION

if [ -x "$BUILT" ]; then
    exit 0
fi
if ! command -v go >/dev/null 2>&1; then
    echo "No Go found, and versitygw is built from source: install it (https://go.dev/dl), then run make versitygw again." >&2
    exit 1
fi
ASIDE=$PWD/.tools/building
mkdir -p "$ASIDE"
# No C compiler is needed; a module cache that can be removed like any other folder.
GOBIN="$ASIDE" CGO_ENABLED=0 GOFLAGS=-modcacherw go install "github.com/versity/versitygw/cmd/versitygw@$VERSION"
rm -f .tools/versitygw-*
mv "$ASIDE/versitygw" "$BUILT"
rmdir "$ASIDE"
