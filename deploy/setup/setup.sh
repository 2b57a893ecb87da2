#!/usr/bin/env bash
# Installs what is missing to build and run (run), to test (test), or for everything that CI does (ci). Says what it
# installs before it does; where nothing is missing it ends at once and needs no network.
set -euo pipefail

mode=${1:-}
case $mode in
  run | test | ci) ;;
  *) echo "usage: $0 run|test|ci" >&2; exit 2 ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/setup/env.sh
. "$here/env.sh"

say() { printf 'setup: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# Of OpenCV's libraries five are linked, highgui by the window alone; the other headers are there because opencv.hpp,
# which gocv includes, names every module that Debian built. The whole of libopencv-dev would be 300 MB more.
build_packages=(g++ pkg-config make git ca-certificates curl xz-utils libturbojpeg0-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev libopencv-videoio-dev
  libopencv-calib3d-dev libopencv-dnn-dev libopencv-features2d-dev libopencv-flann-dev libopencv-highgui-dev
  libopencv-ml-dev libopencv-objdetect-dev libopencv-photo-dev libopencv-stitching-dev libopencv-video-dev)
test_packages=(ffmpeg python3 python3-websockets python3-opencv fonts-dejavu-core iproute2 zsh fish
  xvfb evilwm xdotool)
ci_packages=(debootstrap) # make images-offline

has_browser() {
  local b
  for b in chromium chromium-browser google-chrome google-chrome-stable headless-shell; do has $b && return; done
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif has sudo; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    say "neither root nor sudo here; as root, run:  $*"
    return 1
  fi
}

apt() { as_root apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

install_by_apt() {
  local wanted=("${build_packages[@]}") missing=() p
  if [ "$mode" != run ]; then wanted+=("${test_packages[@]}"); fi
  if [ "$mode" = ci ]; then wanted+=("${ci_packages[@]}"); fi
  for p in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  if [ "$mode" != run ] && ! has_browser; then missing+=(chromium); fi
  if [ ${#missing[@]} = 0 ]; then return; fi

  say "installing by apt: ${missing[*]}"
  if ! apt-cache show "${missing[@]}" >/dev/null 2>&1; then apt update; fi
  # Ubuntu has Chromium as a snap only; the tests say themselves what they could not run without it.
  if [[ " ${missing[*]} " == *" chromium "* ]] && ! apt-cache show chromium >/dev/null 2>&1; then
    say "no chromium package here: the browser tests need \`snap install chromium\` or Google Chrome"
    missing=("${missing[@]/#%chromium/}")
    read -ra missing <<<"${missing[*]}"
    if [ ${#missing[@]} = 0 ]; then return; fi
  fi
  # Lists that are too old name archives that are gone; then new lists help.
  apt install -y --no-install-recommends "${missing[@]}" >&2 ||
    { apt update && apt install -y --no-install-recommends "${missing[@]}" >&2; }
}

# Elsewhere we look, and leave the installing to whoever knows the machine.
check_by_looking() {
  local missing=()
  has c++ || has g++ || missing+=("a C++ compiler")
  has git || missing+=(git)
  has curl || missing+=(curl)
  if has pkg-config; then
    pkg-config --exists opencv4 || missing+=(OpenCV)
    pkg-config --exists libturbojpeg || missing+=(libjpeg-turbo)
  else
    missing+=(pkg-config OpenCV libjpeg-turbo)
  fi
  if [ "$mode" != run ]; then
    has ffmpeg || missing+=(ffmpeg)
    has python3 || missing+=(python3)
    if [ "$(uname -s)" != Darwin ]; then has_browser || missing+=(Chromium); fi
  fi
  if [ ${#missing[@]} = 0 ]; then return; fi
  local IFS=,
  say "missing: ${missing[*]//,/, }"
  cat >&2 <<'END'
setup: there is no apt-get here, so please install these yourself, then run the same command again:
  macOS   brew install go opencv jpeg-turbo pkgconf            (tests: ffmpeg python and Google Chrome)
  Fedora  dnf install gcc-c++ pkgconf-pkg-config git curl opencv-devel turbojpeg-devel
                                                               (tests: ffmpeg-free python3-websockets python3-opencv chromium)
  Arch    pacman -S base-devel git curl opencv libjpeg-turbo   (tests: ffmpeg python-websockets chromium)
  Windows use WSL with Ubuntu or Debian, where this script installs them
END
  exit 1
}

sha256_of() { if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; }

# The official archive, into the cache: nothing of the system is changed. It takes its place only once it is whole.
fetch_go() {
  local arch want got archive url dir=$FRAMEBUS_TOOLS/go@$go_version
  case $(uname -s)/$(uname -m) in
    Linux/x86_64) arch=linux-amd64 ;;
    Linux/aarch64 | Linux/arm64) arch=linux-arm64 ;;
    *) say "Go $(sed -n 's/^go //p' "$framebus_root/go.work") or newer is needed: https://go.dev/doc/install"; exit 1 ;;
  esac
  want=go_sha256_${arch//-/_}
  want=${!want}
  archive=go$go_version.$arch.tar.gz
  url=${FRAMEBUS_GO_BASE_URL:-https://go.dev/dl}/$archive
  say "Go is missing or older than go.work asks for: fetching $url into $dir"
  mkdir -p "$FRAMEBUS_TOOLS"
  fetching=$(mktemp -d "$FRAMEBUS_TOOLS/.go.XXXXXX")
  trap 'rm -rf "$fetching"' EXIT
  curl -fsSL --retry 3 --connect-timeout 20 -o "$fetching/$archive" "$url"
  got=$(sha256_of "$fetching/$archive")
  if [ "$got" != "$want" ]; then
    say "refused: $archive has the SHA-256 $got, the official one is $want"
    exit 1
  fi
  tar -xzf "$fetching/$archive" -C "$fetching"
  rm -rf "$dir"
  mv "$fetching/go" "$dir"
}

if has apt-get; then install_by_apt; else check_by_looking; fi
framebus_go_dir >/dev/null || fetch_go
framebus_go_dir >/dev/null || { say "the Go in $FRAMEBUS_TOOLS/go@$go_version does not run"; exit 1; }
