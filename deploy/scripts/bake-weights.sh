#!/usr/bin/env bash
# Weights into $KERAS_HOME or $NST_CACHE, verified: bake-weights.sh procedural|imagenet GIVEN.
# GIVEN is a folder that may have Keras's file; without it, imagenet is downloaded.
set -euo pipefail
weights=$1 given=$2
file=vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5

mkdir -p "$KERAS_HOME/models" "$NST_CACHE/programs"
# Whoever the container runs as keeps there what it fetches and compiles.
chmod 1777 "$NST_CACHE" "$NST_CACHE/programs"
case $weights in
    procedural) ;;
    imagenet)
        if [ -f "$given/$file" ]; then
            cp "$given/$file" "$KERAS_HOME/models/$file"
        fi
        nst weights fetch --weights imagenet
        ;;
    *)
        echo "bake-weights.sh: $weights is neither procedural nor imagenet" >&2
        exit 2
        ;;
esac
nst weights verify --weights "$weights"
