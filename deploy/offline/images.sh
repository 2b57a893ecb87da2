#!/usr/bin/env bash
# Makes every image of docker-compose.yml, Grafana's excepted, on a machine that reaches no registry: from Debian's
# packages, the Go module proxy and the tool cache. Each bears the public image's name, so that the same compose file
# runs. What is there and current stays; so does what was pulled from a registry.
#
#   deploy/offline/images.sh            all of them
#   deploy/offline/images.sh standins   all but framebus's own
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/setup/env.sh
. "$here/../setup/env.sh"
root=$framebus_root

label=framebus.standin
suite=bookworm
mirror=${FRAMEBUS_DEBIAN_MIRROR:-http://deb.debian.org}
debian=debian:$suite-slim
export GO_IMAGE=${GO_IMAGE:-golang:$go_version-$suite}

say() { printf 'images: %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
compose() { docker compose -f "$root/docker-compose.yml" -f "$root/deploy/compose.gateways.yml" "$@"; }

# image_of SERVICE, as docker-compose.yml and the environment have it.
image_of() { compose config "$1" | awk -v s="  $1:" '$0 == s {found = 1} found && $1 == "image:" {print $2; exit}'; }

work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT

# there IMAGE KEY: whether it needs no making.
there() {
  local has
  has=$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null) || return
  if [ -z "$has" ]; then say "$1 is a real one: kept"; return; fi
  [ "$has" = "$2" ]
}

key() { sha256sum <<<"$*" | cut -c1-16; }

make_debian() {
  local tree=$work/debian key
  key=$(key "$mirror" "$(declare -f make_debian)")
  if there "$debian" "$key"; then return; fi
  say "$debian: by debootstrap"
  command -v debootstrap >/dev/null || PATH=$PATH:/usr/sbin
  as_root debootstrap --variant=minbase "$suite" "$tree" "$mirror/debian" >"$work/log" 2>&1 ||
    { tail -20 "$work/log" >&2; say "debootstrap failed; is it installed?"; exit 1; }
  as_root tee "$tree/etc/apt/sources.list" >/dev/null <<END
deb $mirror/debian $suite main
deb $mirror/debian $suite-updates main
deb $mirror/debian-security $suite-security main
END
  # As the official image has it: what is interrupted here is thrown away anyway.
  as_root tee "$tree/etc/dpkg/dpkg.cfg.d/docker-apt-speedup" >/dev/null <<<force-unsafe-io
  as_root tar -C "$tree" --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' --exclude './usr/share/man/*' \
    --exclude './usr/share/locale/*' -c . | docker import -c 'CMD ["bash"]' -c "LABEL $label=$key" - "$debian" >/dev/null
}

# make IMAGE TARGET CONTEXT VERSION…: made anew where the recipe or a version has changed.
make() {
  local image=$1 target=$2 context=$3 key
  key=$(key "$(cat "$here/Dockerfile")" "${@:4}")
  if there "$image" "$key"; then return; fi
  say "$image"
  docker build -q -f "$here/Dockerfile" --target "$target" --label "$label=$key" -t "$image" "$context" >/dev/null
}

make_golang() {
  local context=$work/golang
  mkdir "$context"
  cp -r "$framebus_go/.." "$context/go"
  cp -L /etc/ssl/certs/ca-certificates.crt "$context/"
  make "$GO_IMAGE" golang "$context" "$go_version"
}

# make_tool SERVICE TOOL…: what a service of docker-compose.yml runs, by the pinned tools.
make_tool() {
  local service=$1 tool path paths=()
  shift
  for tool; do
    path=$("$root/deploy/setup/tool.sh" "$tool")
    paths+=("$path")
  done
  make "$(image_of "$service")" "$service" "$(dirname "$path")" "${paths[@]##*/tools/}"
}

docker version >/dev/null || { say 'there is no Docker engine here'; exit 1; }
make_debian
make_golang
make_tool nats nats-server
make_tool jaeger jaeger
make_tool prometheus prometheus promtool
make_tool pyroscope pyroscope
make "$(image_of balancer)" haproxy "$here"
if [ "${1:-}" = standins ]; then exit; fi
say 'framebus'
compose build capture encoder gateway
