#!/usr/bin/env bash
# Prints the path of a pinned tool, building it into the tool cache if it is not there:
#
#   deploy/setup/tool.sh nats-server
#
# Versions stand in versions.sh. Safe to be called by several at once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/setup/env.sh
. "$here/env.sh"

name=${1:-}
read -r version package < <(awk -v n="$name" '$1 == n {print $2, $3}' <<<"$tools") || {
  echo "usage: $0 NAME, one of: $(awk 'NF {printf "%s ", $1}' <<<"$tools")" >&2
  exit 2
}
dir=$FRAMEBUS_TOOLS/$name@$version
if [ ! -x "$dir/$name" ]; then
  mkdir -p "$FRAMEBUS_TOOLS"
  # macOS has no flock; there, two builds at once cost time and nothing else, because each moves a whole file in place.
  exec 9>"$FRAMEBUS_TOOLS/.$name.lock"
  if command -v flock >/dev/null; then flock 9; fi
  if [ ! -x "$dir/$name" ]; then
    echo "building $name $version, once" >&2
    tmp=$(mktemp -d "$FRAMEBUS_TOOLS/.$name.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    (cd / && GOFLAGS='' GOWORK=off CGO_ENABLED=0 GOBIN=$tmp go install -trimpath "$package@$version") 9>&- >&2
    mkdir -p "$dir"
    mv "$tmp/$name" "$dir/$name"
  fi
fi
echo "$dir/$name"
