#!/usr/bin/env bash
# Says what is in the images that `make images` left: artifacts/sbom/SERVICE.cdx.json for scanners, and with `list` the
# tables of THIRD_PARTY.md.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/setup/env.sh
. deploy/setup/env.sh

# told SERVICE ARGUMENT: of the files of a container that is never started.
told() {
  local id
  id=$(docker create "framebus/$1:${FRAMEBUS_VERSION:-dev}")
  docker export "$id" | go run ./services/standalone/cmd/sbom "$2"
  docker rm "$id" >/dev/null
}

mkdir -p artifacts/sbom
for service in capture encoder gateway; do
  if [ "${1:-}" = list ]; then
    printf '\n## %s\n\n| what | licences |\n| --- | --- |\n' "$service"
    told "$service" --list
  else
    told "$service" "framebus/$service:${FRAMEBUS_VERSION:-dev}" >"artifacts/sbom/$service.cdx.json"
    echo "artifacts/sbom/$service.cdx.json"
  fi
done
