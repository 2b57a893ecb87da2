# shellcheck shell=bash disable=SC2034
# Every version that is pinned outside the go.mod files. Sourced by the scripts beside it.

# The Go that is fetched where the machine's own is missing or older than go.work asks for. The checksums are those that
# https://go.dev/dl/ publishes for the archives; a new version means three new lines.
go_version=1.26.8
go_sha256_linux_amd64=d0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b
go_sha256_linux_arm64=211ffced9dcb9633a55eac6364816ec0ddd951389a740e88fa8b3337971bdda0

# The Kubernetes whose API the manifests are checked against.
kubernetes_version=v1.36.3

# Tools, as NAME VERSION PACKAGE: `go install PACKAGE@VERSION` makes NAME, the last element of PACKAGE or the one before
# a major version.
tools='
buf           v1.75.0 github.com/bufbuild/buf/cmd/buf
golangci-lint v2.15.0 github.com/golangci/golangci-lint/v2/cmd/golangci-lint
kubeconform   v0.8.0  github.com/yannh/kubeconform/cmd/kubeconform
kustomize     v5.8.2  sigs.k8s.io/kustomize/kustomize/v5
nats-server   v2.15.2 github.com/nats-io/nats-server/v2
'

# Tools of modules that `go install` refuses, because their go.mod has replace directives: NAME FOLDER VERSION MODULE
# PACKAGE TAGS [REPLACE…]. FOLDER@VERSION is where several tools of one module lie together; `-` means no tags. A module
# that replaces a part of itself by a relative path needs that part's own version here, as OLD=NEW.
#
# Prometheus finds what it scrapes by static lists and by DNS; without its other two dozen ways it builds in half the
# time. Nothing that `make run` or `make test` needs waits for any of these.
module_tools='
jaeger     jaeger     v1.76.0  github.com/jaegertracing/jaeger   cmd/jaeger     -
prometheus prometheus v0.315.0 github.com/prometheus/prometheus  cmd/prometheus remove_all_sd,enable_dns_sd
promtool   prometheus v0.315.0 github.com/prometheus/prometheus  cmd/promtool   remove_all_sd,enable_dns_sd
pyroscope  pyroscope  v1.12.0  github.com/grafana/pyroscope      cmd/pyroscope  - github.com/grafana/pyroscope/api=github.com/grafana/pyroscope/api@v1.2.0
'

# Plugins of the docker program, for machines that have it without them: NAME FOLDER VERSION PACKAGE VARIABLE. Docker
# refuses a plugin that cannot tell its version, which is linked into VARIABLE.
docker_plugins='
docker-compose compose v5.0.2  github.com/docker/compose/v5/cmd   github.com/docker/compose/v5/internal.Version
docker-buildx  buildx  v0.37.2 github.com/docker/buildx/cmd/buildx github.com/docker/buildx/version.Version
'
