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

name=${1:-} variable=
if read -r version package < <(awk -v n="$name" '$1 == n {print $2, $3}' <<<"$tools"); then
  folder=$name module=
elif read -r folder version package variable < <(awk -v n="$name" '$1 == n {$1 = ""; print}' <<<"$docker_plugins"); then
  module=
elif ! read -r folder version module package tags replaces < <(awk -v n="$name" '$1 == n {$1 = ""; print}' <<<"$module_tools"); then
  echo "usage: $0 NAME, one of: $(awk 'NF {printf "%s ", $1}' <<<"$tools$module_tools$docker_plugins")" >&2
  exit 2
fi

# Builds in the folder $1 what `go install` can make by itself.
install_plain() { GOBIN=$1 go install -trimpath "$package@$version"; }

# A program that is named after its folder, and does not know its version by itself.
install_plugin() {
  GOBIN=$1 go install -trimpath -ldflags "-X $variable=$version" "$package@$version"
  if [ "${package##*/}" != "$name" ]; then mv "$1/${package##*/}" "$1/$name"; fi
}

# For a module with replace directives. A module of our own takes over its go.mod and go.sum, so that what is built is
# what its authors pinned, and asks for it at its version.
install_of_module() {
  local from replace
  from=$(go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  mkdir "$1/module"
  cd "$1/module"
  cp "$from/go.mod" "$from/go.sum" .
  chmod u+w go.mod go.sum
  go mod edit -module="tools/$name" -require="$module@$version"
  for replace in $replaces; do go mod edit -replace="$replace"; done
  go build -mod=mod -trimpath -ldflags '-s -w' -tags "${tags#-}" -o "$1/$name" "$module/$package"
}

dir=$FRAMEBUS_TOOLS/$folder@$version
if [ ! -x "$dir/$name" ]; then
  mkdir -p "$FRAMEBUS_TOOLS"
  # macOS has no flock; there, two builds at once cost time and nothing else, because each moves a whole file in place.
  exec 9>"$FRAMEBUS_TOOLS/.$folder.lock"
  if command -v flock >/dev/null; then flock 9; fi
  if [ ! -x "$dir/$name" ]; then
    echo "building $name $version, once${module:+; this takes some minutes}" >&2
    tmp=$(mktemp -d "$FRAMEBUS_TOOLS/.$name.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    (
      cd /
      export GOFLAGS='' GOWORK=off CGO_ENABLED=0
      if [ -n "$module" ]; then install_of_module "$tmp"
      elif [ -n "$variable" ]; then install_plugin "$tmp"
      else install_plain "$tmp"; fi
    ) 9>&- >&2
    mkdir -p "$dir"
    mv "$tmp/$name" "$dir/$name"
  fi
fi
echo "$dir/$name"
