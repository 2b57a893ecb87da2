# shellcheck shell=bash
# The environment every build runs in: which Go, and where OpenCV and libjpeg-turbo are. Sourced by the Makefile and by
# the scripts beside it; sets no more than variables, so that a shell may source it too:
#
#   . deploy/setup/env.sh && go test ./services/gateway/...

framebus_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/setup/versions.sh
. "$framebus_root/deploy/setup/versions.sh"

export FRAMEBUS_TOOLS=${FRAMEBUS_TOOLS:-$HOME/.cache/framebus/tools}

# framebus_go_fits DIR: whether DIR/go is at least the version that go.work asks for. Asked from /, because inside the
# workspace an older Go refuses to say anything.
framebus_go_fits() {
  local want have
  [ -x "$1/go" ] || return 1
  want=$(sed -n 's/^go //p' "$framebus_root/go.work")
  have=$(cd / && GOTOOLCHAIN=local "$1/go" version 2>/dev/null | sed -n 's/^go version go\([^ ]*\).*/\1/p')
  [ -n "$have" ] && printf '%s\n%s\n' "$want" "$have" | sort -V -C
}

# framebus_go_dir prints the directory of the Go to use: the one on PATH, one at a usual place, the one in the cache.
framebus_go_dir() {
  local dir own
  own=$(command -v go || true)
  for dir in ${own:+"${own%/*}"} ${FRAMEBUS_GO_DIRS-/usr/local/go/bin} "$FRAMEBUS_TOOLS/go@$go_version/bin"; do
    if framebus_go_fits "$dir"; then echo "$dir"; return; fi
  done
  return 1
}

if framebus_go=$(framebus_go_dir); then
  case ":$PATH:" in "$framebus_go":*) ;; *) PATH=$framebus_go:$PATH ;; esac
  export PATH
fi
# What go.work and go.mod ask for is what runs; nothing is downloaded behind the user's back.
export GOTOOLCHAIN=local

# gocv in its smallest form: core, imgproc and imgcodecs, plus videoio; `customenv` leaves the flags to us. Debian ships
# opencv4.pc only with the whole of libopencv-dev (1 GB), Homebrew always.
export FRAMEBUS_TAGS=customenv,gocv_specific_modules,gocv_videoio
export GOFLAGS="-buildvcs=false -tags=$FRAMEBUS_TAGS"
export CGO_CXXFLAGS="-std=c++11 -O2 -DNDEBUG"
export CGO_CPPFLAGS=-I/usr/include/opencv4
export CGO_LDFLAGS="-lopencv_core -lopencv_imgproc -lopencv_imgcodecs -lopencv_videoio"
if [ "$(uname -s)" = Darwin ]; then
  if command -v brew >/dev/null; then
    export PKG_CONFIG_PATH="$(brew --prefix jpeg-turbo)/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
  fi
  CGO_CXXFLAGS="-std=c++17 -O2 -DNDEBUG" # Homebrew's OpenCV is newer and asks for it
  CGO_CPPFLAGS=$(pkg-config --cflags opencv4 libturbojpeg 2>/dev/null)
  CGO_LDFLAGS="$(pkg-config --libs-only-L opencv4 libturbojpeg 2>/dev/null) $CGO_LDFLAGS"
fi
