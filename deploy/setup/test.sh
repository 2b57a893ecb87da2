#!/usr/bin/env bash
# Tests of the set-up, on copies of these scripts in a folder of its own: real curl, tar and HTTP server, a PATH that
# has no Go, and stand-ins for the programs that would change the machine (apt-get, dpkg-query, sudo).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server"; fi; rm -rf "$top"' EXIT

fail() { echo "FAIL: $*" >&2; sed 's/^/  | /' "$top/out" >&2; exit 1; }
passed() { echo "ok    setup: $*"; }

mkdir -p "$top/house/deploy" "$top/machine" "$top/stubs" "$top/www" "$top/home"
cp -r "$here" "$top/house/deploy/setup"
cp "$here/../../go.work" "$top/house/"
setup=$top/house/deploy/setup

# link NAME…: what the scripts may use of this machine.
link() { local p; for p; do ln -s "$(command -v "$p")" "$top/machine/$p"; done; }
link awk bash cat chmod cp curl cut dirname env gzip id mkdir mktemp mv python3 rm sed sha256sum sort tar tr uname

# stub NAME: reads its body from stdin; every call is noted in $top/calls. Stubs have a folder of their own, in front of
# the links: written into theirs, one would go through its link and replace the machine's own program.
stub() {
  [ ! -L "$top/stubs/$1" ] || fail "$1 is a link"
  { echo '#!/usr/bin/env bash'; echo "echo \"\${0##*/} \$*\" >>'$top/calls'"; cat; } >"$top/stubs/$1"
  chmod +x "$top/stubs/$1"
}

# run ARG…: setup.sh as on a machine that has nothing but the links and the stubs.
run() {
  : >"$top/calls"
  env -i HOME="$top/home" PATH="$top/stubs:$top/machine" FRAMEBUS_GO_DIRS= FRAMEBUS_TOOLS="$top/cache" \
    FRAMEBUS_GO_BASE_URL="${url:-}" "$setup/setup.sh" "$@" >"$top/out" 2>&1 </dev/null
}

# A Go that is too old for go.work, as Debian 12 has it.
old_go() { stub go <<<'echo "go version go1.19.8 linux/amd64"'; }

# --- no apt-get: names what to install, and installs nothing -----------------------------------------------------
if run run; then fail "passed on a machine with neither a compiler nor apt-get"; fi
grep -q 'brew install .*opencv.*jpeg-turbo' "$top/out" || fail "no package names for Homebrew"
grep -q 'missing: a C++ compiler' "$top/out" || fail "does not say what is missing"
passed "says what to install where there is no apt-get"

# --- apt: only what is missing, announced before it is installed --------------------------------------------------
stub apt-cache <<<'exit 0'
stub apt-get <<<'exit 0'
stub sudo <<<'exec "$@"'
stub dpkg-query <<<'[ "${@: -1}" = libturbojpeg0-dev ] || echo -n installed'
url=file:///nonexistent
run run || true
grep -q 'installing by apt: libturbojpeg0-dev$' "$top/out" || fail "does not announce what it installs"
grep -q '^apt-get .*install -y --no-install-recommends libturbojpeg0-dev$' "$top/calls" || fail "does not install it"
passed "installs by apt what is missing and nothing else"

stub id <<<'echo 1000'
run run || true
grep -q '^sudo .*apt-get' "$top/calls" || fail "no sudo where not root"
rm "$top/stubs/sudo"
if run run; then fail "passed without the right to install"; fi
grep -q 'as root, run: .*libturbojpeg0-dev' "$top/out" || fail "does not say what root must run"
passed "takes sudo where it is not root, and says what to run where there is none"

# --- Go: fetched where missing or too old, refused where the checksum is wrong ------------------------------------
stub dpkg-query <<<'echo -n installed'
stub chromium <<<'exit 0'
(
  # shellcheck source=deploy/setup/versions.sh
  . "$setup/versions.sh"
  mkdir -p "$top/go/bin"
  printf '#!/usr/bin/env bash\necho "go version go%s linux/amd64"\n' "$go_version" >"$top/go/bin/go"
  chmod +x "$top/go/bin/go"
  for arch in amd64 arm64; do tar -czf "$top/www/go$go_version.linux-$arch.tar.gz" -C "$top" go; done
)
: >"$top/http"
python3 -u -m http.server --bind 127.0.0.1 --directory "$top/www" 0 >"$top/http" 2>&1 &
server=$!
for _ in {1..300}; do grep -q 'port [0-9]' "$top/http" && break; sleep 0.1; done
url=http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$top/http")

if run run; then fail "accepted an archive with another checksum"; fi
grep -q 'refused: .* the official one is' "$top/out" || fail "does not say that the checksum is wrong"
[ -z "$(ls -A "$top/cache")" ] || fail "left something of a refused archive: $(ls -A "$top/cache")"
passed "refuses a Go whose checksum is not the pinned one"

for f in "$top"/www/*.tar.gz; do
  arch=${f##*linux-}
  sed -i "s/^\(go_sha256_linux_${arch%%.*}\)=.*/\1=$(sha256sum "$f" | cut -d' ' -f1)/" "$setup/versions.sh"
done
old_go
run run || fail "did not replace a Go that is too old"
grep -q 'fetching http' "$top/out" || fail "does not say what it fetches"
env -i HOME="$top/home" PATH="$top/stubs:$top/machine" FRAMEBUS_GO_DIRS= FRAMEBUS_TOOLS="$top/cache" \
  bash -c ". '$setup/env.sh'; command -v go" >"$top/out" 2>&1
grep -q "^$top/cache/go@" "$top/out" || fail "builds would not use the Go that was fetched"
passed "fetches Go where the machine's is too old, and builds with it"

# --- a second run: nothing to do, no network ----------------------------------------------------------------------
kill "$server"; wait "$server" 2>/dev/null || true; server=
run test || fail "a second run needs something"
[ ! -s "$top/out" ] || fail "a second run is not silent"
if grep -q '^apt-get' "$top/calls"; then fail "a second run calls apt-get"; fi
passed "has nothing to do the second time"

# --- tools: of modules that `go install` refuses, too -------------------------------------------------------------
# module NAME: makes v1.0.0 of example.test/NAME from the folder $top/NAME, for a real Go.
module() {
  python3 - "$top" "$1" <<'END'
import os, shutil, sys, zipfile
top, name = sys.argv[1:]
to = f"{top}/proxy/example.test/{name}/@v"
os.makedirs(to)
with zipfile.ZipFile(f"{to}/v1.0.0.zip", "w") as z:
    for dir, _, files in os.walk(f"{top}/{name}"):
        for f in files:
            path = os.path.join(dir, f)
            z.write(path, f"example.test/{name}@v1.0.0/{os.path.relpath(path, f'{top}/{name}')}")
shutil.copy(f"{top}/{name}/go.mod", f"{to}/v1.0.0.mod")
open(f"{to}/v1.0.0.info", "w").write('{"Version":"v1.0.0"}')
open(f"{to}/list", "w").write("v1.0.0\n")
END
}
mkdir -p "$top/whole/cmd/one" "$top/part"
printf 'module example.test/part\n\ngo 1.20\n' >"$top/part/go.mod"
printf 'package part\n\nconst Word = "the part"\n' >"$top/part/part.go"
printf 'module example.test/whole\n\ngo 1.20\n\nrequire example.test/part v1.0.0\n%s\n' \
  'replace example.test/part => ./part' >"$top/whole/go.mod"
: >"$top/whole/go.sum"
printf 'package main\n\nimport "example.test/part"\n\nfunc main() { print(part.Word, tag) }\n' >"$top/whole/cmd/one/main.go"
printf '//go:build lean\n\npackage main\n\nconst tag = ", lean"\n' >"$top/whole/cmd/one/lean.go"
module part
module whole
cat >>"$setup/versions.sh" <<'END'
module_tools='
one several v1.0.0 example.test/whole cmd/one lean example.test/part=example.test/part@v1.0.0
'
END
tool() {
  FRAMEBUS_TOOLS=$top/tools GOPROXY=file://$top/proxy GONOSUMDB='*' GOMODCACHE=$top/mod GOFLAGS= \
    "$setup/tool.sh" "$@" 2>"$top/out"
}
mkdir "$top/tools"
path=$(tool one) || fail "does not build a tool of a module with replace directives"
[ "$path" = "$top/tools/several@v1.0.0/one" ] || fail "builds it elsewhere: $path"
[ "$("$path" 2>&1)" = 'the part, lean' ] || fail "not built as it was asked for: $("$path" 2>&1)"
[ "$(cd "$top/tools" && find . -type f ! -name '.*.lock')" = ./several@v1.0.0/one ] || fail "leaves something behind"
: >"$top/out"
GOPROXY=off tool one >/dev/null || fail "a second call needs something"
[ ! -s "$top/out" ] || fail "a second call is not silent"
if tool two; then fail "knows a tool that is not pinned"; fi
grep -q 'one of: .*nats-server .*one' "$top/out" || fail "does not say which tools there are"
chmod -R u+w "$top/mod"
passed "builds a tool of a module with replace directives, once"
