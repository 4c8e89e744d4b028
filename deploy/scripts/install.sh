#!/usr/bin/env bash
# The project and its pinned packages in an environment of their own:
# install.sh cpu|gpu SOURCE TARGET.
set -euo pipefail
kind=$1 source=$2 target=$3

case $kind in
    cpu) pins=$source/requirements.txt ;;
    gpu) pins=$source/requirements-gpu.txt ;;
    *)
        echo "install.sh: $kind is neither cpu nor gpu" >&2
        exit 2
        ;;
esac
python -m venv "$target"
install=("$target/bin/pip" install --no-cache-dir --disable-pip-version-check --no-deps)
"${install[@]}" --require-hashes --requirement "$pins"
"${install[@]}" --no-build-isolation "$source"
"$target/bin/pip" check
