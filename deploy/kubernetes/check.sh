#!/usr/bin/env bash
# Builds every overlay, and validates what comes out strictly against schemas made from Kubernetes' own description of
# its API. Then proves that the check can fail: manifests with one mistake each must be refused.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/setup/env.sh
. "$here/../setup/env.sh"
kustomize=$("$here/../setup/tool.sh" kustomize)
kubeconform=$("$here/../setup/tool.sh" kubeconform)
mkdir -p "$FRAMEBUS_TOOLS"
top=$(mktemp -d "$FRAMEBUS_TOOLS/.kubernetes.XXXXXX")
trap 'rm -rf "$top"' EXIT

fail() { echo "FAIL: kubernetes: $*" >&2; exit 1; }
passed() { echo "ok    kubernetes: $*"; }

# The schemas, made once a version; what is half made never takes their place.
schemas=$FRAMEBUS_TOOLS/kubernetes-schemas@$kubernetes_version-$(cksum <"$here/schemas.py" | cut -d' ' -f1)
if [ ! -d "$schemas" ]; then
  module=$(cd / && GOFLAGS='' GOWORK=off go mod download -json "k8s.io/kubernetes@$kubernetes_version" |
    sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  python3 "$here/schemas.py" "$module/api/openapi-spec/swagger.json" "$top/schemas"
  [ -d "$schemas" ] || mv "$top/schemas" "$schemas" # somebody else may have been faster
fi

validate() {
  "$kubeconform" -strict -summary -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
}

for overlay in "$here"/overlays/*/; do
  name=$(basename "$overlay")
  "$kustomize" build "$overlay" >"$top/$name.yaml"
  validate "$top/$name.yaml" >"$top/out" 2>&1 || { cat "$top/out" >&2; fail "$name is not valid"; }
  passed "$name: $(cat "$top/out")"

  # What no schema knows: every container is held tight, and every setting is one that framebus or its bus has.
  each() { # each THING NUMBER LINE...: there are so many of each line
    local line thing=$1 number=$2
    shift 2
    for line; do
      [ "$(grep -c -- "$line" "$top/$name.yaml")" -ge "$number" ] || fail "$name: not every $thing has: $line"
    done
  }
  each container "$(grep -c '^ *image: ' "$top/$name.yaml")" 'readOnlyRootFilesystem: true' \
    'allowPrivilegeEscalation: false' '^ *- ALL$' 'readinessProbe:' 'livenessProbe:' 'memory: .*Mi'
  each pod "$(grep -c '^ *containers:$' "$top/$name.yaml")" 'runAsNonRoot: true' 'type: RuntimeDefault' \
    'automountServiceAccountToken: false'
  grep -oh 'FRAMEBUS_[A-Z_]*[A-Z]' "$top/$name.yaml" | sort -u | while read -r setting; do
    grep -qr --include='*.go' --include='*.conf' "\"$setting\"\|\$$setting\b" "$here/../nats" "$here/../../services" ||
      fail "$name: nobody reads $setting"
  done
done
passed 'every container is non-root, read-only, without capabilities, probed; every setting is read by somebody'

# Who shares memory has it from one volume, which is memory and has an end; who does not says so.
[ "$(grep -c 'mountPath: /shm$' "$top/dev-onepod.yaml")" = 2 ] &&
  [ "$(grep -A1 'name: FRAMEBUS_SHM$' "$top/dev-onepod.yaml" | grep -c 'value: /shm$')" = 2 ] &&
  [ "$(grep -A2 'emptyDir:$' "$top/dev-onepod.yaml" | grep -c 'medium: Memory$\|sizeLimit: .*Mi$')" = 2 ] ||
  fail 'dev-onepod: capture and encoder do not share memory'
! grep -q '^  name: encoder$' "$top/dev-onepod.yaml" || fail 'dev-onepod: there is an encoder beside the pod'
for name in dev cluster; do
  grep -q '^  FRAMEBUS_SHM: "off"$' "$top/$name.yaml" || fail "$name: FRAMEBUS_SHM is not off"
done
passed 'raw frames go by reference in one pod, inline between pods'

! grep -q '^kind: Secret$' "$top/cluster.yaml" || fail 'the cluster overlay carries a secret'
passed 'the cluster overlay carries no secret'

# refused WHAT SED WHY: the dev overlay with one mistake in it, and what must be said against it.
refused() {
  sed "$2" "$top/dev.yaml" >"$top/wrong.yaml"
  ! cmp -s "$top/dev.yaml" "$top/wrong.yaml" || fail "the mistake was not made: $1"
  ! validate "$top/wrong.yaml" >"$top/out" 2>&1 || fail "accepted: $1"
  grep -q -- "$3" "$top/out" || { cat "$top/out" >&2; fail "refused for another reason than: $1"; }
  passed "refuses $1"
}
refused 'an unknown field' 's/^  replicas: 1$/  replica: 1/' "'replica' not allowed"
refused 'an unknown field deep inside' 's/readOnlyRootFilesystem:/readOnlyRootFileSystem:/' \
  "'readOnlyRootFileSystem' not allowed"
refused 'a wrong type' 's/^  replicas: 1$/  replicas: one/' 'got string, want integer'
refused 'a missing field' '/pathType: Prefix/d' "missing property 'pathType'"
refused 'a kind that is not' 's/^kind: PodDisruptionBudget$/kind: PodDisruptionBudgets/' 'could not find schema'
refused 'a version that is gone' 's|^apiVersion: autoscaling/v2$|apiVersion: autoscaling/v2beta2|' \
  'could not find schema'
