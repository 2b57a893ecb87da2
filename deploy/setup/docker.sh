#!/usr/bin/env bash
# Gives the docker program its plugins `compose` and `buildx` where it lacks them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
docker version >/dev/null || { echo 'there is no Docker engine here' >&2; exit 1; }
for plugin in compose buildx; do
  if docker "$plugin" version >/dev/null 2>&1; then continue; fi
  folder=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
  mkdir -p "$folder"
  ln -sf "$("$here/tool.sh" "docker-$plugin")" "$folder/docker-$plugin"
done
