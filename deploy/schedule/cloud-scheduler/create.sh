#!/usr/bin/env bash
# A Flex Template that is launched every night, by accounts that may do no more than that:
#
#   deploy/schedule/cloud-scheduler/create.sh PROJECT REGION BUCKET REPOSITORY ['0 2 * * *']
#
# nst-launcher starts jobs and lets them run as nst-worker, which reads and writes the bucket and
# pulls the image from the Artifact Registry repository. The template must lie at
# gs://BUCKET/templates/nst.json (deploy/dataflow/build.sh). One job of a name runs at a time: while
# last night's still runs, Dataflow refuses the next one. Given again it goes on, and changes the job:
# a role can be refused for a minute after its account is made.
set -euo pipefail

if [ $# -lt 4 ] || [ $# -gt 5 ]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
project=$1 region=$2 bucket=$3 repository=$4 schedule=${5:-0 2 * * *}
launcher=nst-launcher@$project.iam.gserviceaccount.com
worker=nst-worker@$project.iam.gserviceaccount.com
here=$(cd "$(dirname "$0")" && pwd)

body=$(mktemp)
trap 'rm -f "$body"' EXIT
sed -e "s/PROJECT/$project/g" -e "s/BUCKET/$bucket/g" "$here/launch.json" > "$body"

for account in nst-launcher nst-worker; do
    gcloud iam service-accounts create "$account" --project "$project" ||
        gcloud iam service-accounts describe "$account@$project.iam.gserviceaccount.com" \
            --project "$project" > /dev/null
done
gcloud projects add-iam-policy-binding "$project" \
    --member "serviceAccount:$launcher" --role roles/dataflow.developer --condition None
gcloud iam service-accounts add-iam-policy-binding "$worker" --project "$project" \
    --member "serviceAccount:$launcher" --role roles/iam.serviceAccountUser
gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
    --member "serviceAccount:$launcher" --role roles/storage.objectViewer
gcloud projects add-iam-policy-binding "$project" \
    --member "serviceAccount:$worker" --role roles/dataflow.worker --condition None
gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
    --member "serviceAccount:$worker" --role roles/storage.objectUser
gcloud artifacts repositories add-iam-policy-binding "$repository" --project "$project" \
    --location "$region" --member "serviceAccount:$worker" --role roles/artifactregistry.reader
job=(
    nst-nightly --project "$project" --location "$region"
    --schedule "$schedule" --http-method POST --message-body-from-file "$body"
    --uri "https://dataflow.googleapis.com/v1b3/projects/$project/locations/$region/flexTemplates:launch"
    --oauth-service-account-email "$launcher"
    --oauth-token-scope https://www.googleapis.com/auth/cloud-platform
)
gcloud scheduler jobs create http "${job[@]}" || gcloud scheduler jobs update http "${job[@]}"
