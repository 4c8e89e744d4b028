#!/usr/bin/env bash
# The project and its pinned packages in an environment of their own:
# install.sh cpu|gpu SOURCE TARGET.
set -euo pipefail
kind=$1 source=$2 target=$3

case $kind in
    cpu) what=$source pins=(--constraint "$source/requirements.txt") ;;
    gpu)
        what="${source}[gpu]"
        pins=(--constraint "$source/requirements.txt" --constraint "$source/requirements-gpu.txt")
        ;;
    *)
        echo "install.sh: $kind is neither cpu nor gpu" >&2
        exit 2
        ;;
esac
python -m venv "$target"
"$target/bin/pip" install --no-cache-dir --disable-pip-version-check "${pins[@]}" "$what"
"$target/bin/pip" check
