#!/usr/bin/env bash
# The path of a Python of one of these versions, the first that is there and works:
# python.sh 3.13 3.12 3.11. It is looked for on PATH and among pyenv's.
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "python.sh: give versions, such as 3.13 3.12" >&2
    exit 2
fi
for version in "$@"; do
    for found in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
        # A shim of pyenv's is on PATH also for a version that is not switched on.
        if path=$("$found" -c 'import ensurepip, sys; print(sys.executable)' 2> /dev/null); then
            echo "$path"
            exit 0
        fi
    done
done
echo "There is no Python $*; install one, or name it: make PYTHON=/path/to/python …" >&2
exit 1
