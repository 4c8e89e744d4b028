#!/usr/bin/env bash
# Build Beam's Prism runner from its Go module, once, and print where it lies. See docs/flink.md.
set -euo pipefail

VERSION=v2.77.0
FOLDER=${XDG_CACHE_HOME:-$HOME/.cache}/nst/prism/$VERSION

if [ ! -x "$FOLDER/prism" ]; then
  command -v go > /dev/null || {
    echo "build.sh: go is not on the PATH; install Go 1.26 or later." >&2
    exit 2
  }
  GOBIN=$FOLDER go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$VERSION" >&2
fi
echo "$FOLDER/prism"
