#!/usr/bin/env bash
# Builds the programs inside the image build, each into the root of its image with all that it needs there:
#
#   programs.sh VERSION     leaves /common, /capture, /encoder, /gateway
#
# All in one place, so that what they share is compiled once.
set -euo pipefail

version=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/setup/env.sh
. "$here/../setup/env.sh"
cd "$framebus_root"

# Names are resolved by Go itself: what has no cgo of its own is static then.
export GOFLAGS="-buildvcs=false -trimpath -tags=$FRAMEBUS_TAGS,netgo,osusergo"
flags="-s -w -X github.com/framebus/framebus/services/internal/service.Version=$version"

# How a container is asked whether its service is ready, and whom it trusts.
mkdir -p /common/etc/ssl/certs
go build -ldflags "$flags" -o /common/healthy ./services/internal/service/cmd/healthy
cp /etc/ssl/certs/ca-certificates.crt /common/etc/ssl/certs/

go build -ldflags "$flags" -o /gateway/gateway ./services/gateway/cmd/gateway
"$here/notices.sh" /gateway/gateway /gateway

# Static as well: of what is not Go it takes libjpeg-turbo and the C library. CGO_LDFLAGS names OpenCV, which it does not
# use.
CGO_LDFLAGS='' go build -ldflags "$flags -linkmode external -extldflags -static" -o /encoder/encoder \
  ./services/encoder/cmd/encoder
"$here/notices.sh" /encoder/encoder /encoder libturbojpeg0-dev libc6-dev

# OpenCV and FFmpeg are some two hundred libraries: those that the program loads go along.
go build -ldflags "$flags" -o /capture/capture ./services/capture/cmd/capture
mapfile -t packages < <("$here/libraries.sh" /capture/capture /capture)
[ ${#packages[@]} != 0 ]
"$here/notices.sh" /capture/capture /capture "${packages[@]}"
