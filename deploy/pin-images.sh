#!/usr/bin/env bash
# The images that deploy/Dockerfile begins with, by digest: a tag can be another image tomorrow.
#
#   deploy/pin-images.sh               look the digests up and write deploy/images.lock
#   deploy/pin-images.sh --build-args  docker build's arguments from images.lock, one word a line;
#                                      status 1 where an image of the Dockerfile has no digest there
#
# Writing needs crane, skopeo or docker with buildx, and the network. To renew: change a tag in the
# Dockerfile or not, run it, look at the difference, commit the file.
set -euo pipefail
cd "$(dirname "$0")"
lock=${NST_IMAGES_LOCK:-images.lock}

# NAME=IMAGE:TAG of every image that is not made here, as the Dockerfile has them.
images=$(sed -n 's/^ARG \([A-Z]*_IMAGE\)=\(.*\)$/\1=\2/p' Dockerfile)

digest_of() {
    if command -v crane > /dev/null; then
        crane digest "$1"
    elif command -v skopeo > /dev/null; then
        skopeo inspect --format '{{.Digest}}' "docker://$1"
    elif command -v docker > /dev/null; then
        docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
    else
        echo "pin-images.sh: neither crane nor skopeo nor docker is here; install one of them" >&2
        return 1
    fi
}

write() {
    local found="" one digest
    for one in $images; do
        digest=$(digest_of "${one#*=}")
        if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
            echo "pin-images.sh: ${one#*=} has the digest '$digest', which is none" >&2
            return 1
        fi
        found+="$one@$digest"$'\n'
    done
    printf '%s' "$found" > "$lock.new"
    mv "$lock.new" "$lock"
    cat "$lock"
}

build_args() {
    local one line found=""
    for one in $images; do
        line=$(grep -sE "^${one//./\\.}@sha256:[0-9a-f]{64}$" "$lock" || true)
        if [ -z "$line" ]; then
            echo "pin-images.sh: ${one#*=} has no digest in deploy/images.lock; run" \
                "deploy/pin-images.sh where the network is and commit what it writes" >&2
            return 1
        fi
        found+="--build-arg"$'\n'"$line"$'\n'
    done
    printf '%s' "$found"
}

case ${1:-} in
    "") write ;;
    --build-args) build_args ;;
    *)
        echo "pin-images.sh: $1 is not known; give --build-args or nothing" >&2
        exit 2
        ;;
esac
