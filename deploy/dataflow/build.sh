#!/usr/bin/env bash
# Build the image, push it, and publish the template that names it:
#
#   deploy/dataflow/build.sh IMAGE gs://BUCKET/templates/nst.json [procedural|imagenet]
#
# IMAGE is REGION-docker.pkg.dev/PROJECT/REPOSITORY/nst:TAG, with a tag of its own for each build:
# jobs that run would otherwise start new workers from another image. Needs docker and gcloud,
# signed in with roles/artifactregistry.writer and roles/storage.objectUser, and the digests of the
# images that it begins with (deploy/pin-images.sh); NST_UNPINNED=1 builds from their tags, to try.
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
image=$1 template=$2 weights=${3:-procedural}
case $image in
    *:latest)
        echo "build.sh: $image has the tag latest; give each build a tag of its own" >&2
        exit 2
        ;;
    *:*) ;;
    *)
        echo "build.sh: $image has no tag; give each build one of its own" >&2
        exit 2
        ;;
esac
case $template in
    gs://*.json) ;;
    *)
        echo "build.sh: $template is no gs://….json" >&2
        exit 2
        ;;
esac

cd "$(dirname "$0")/../.."
pins=()
if [ "${NST_UNPINNED:-}" != 1 ]; then
    found=$(deploy/pin-images.sh --build-args)
    mapfile -t pins <<< "$found"
fi
docker build --file deploy/Dockerfile --target dataflow --platform linux/amd64 "${pins[@]}" \
    --build-arg "IMAGE=$image" --build-arg "WEIGHTS=$weights" --tag "$image" .
docker push "$image"
# The template names what was pushed, whatever becomes of the tag.
pushed=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")
case $pushed in
    *@sha256:*) ;;
    *)
        echo "build.sh: docker tells no digest of $image ('$pushed'); was it pushed?" >&2
        exit 1
        ;;
esac
gcloud dataflow flex-template build "$template" --image "$pushed" --sdk-language PYTHON \
    --metadata-file deploy/dataflow/metadata.json
echo "Launch it: gcloud dataflow flex-template run nst-nightly --template-file-gcs-location $template"
