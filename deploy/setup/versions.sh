# shellcheck shell=bash disable=SC2034
# Every version that is pinned outside the go.mod files. Sourced by the scripts beside it.

# The Go that is fetched where the machine's own is missing or older than go.work asks for. The checksums are those that
# https://go.dev/dl/ publishes for the archives; a new version means three new lines.
go_version=1.26.8
go_sha256_linux_amd64=d0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b
go_sha256_linux_arm64=211ffced9dcb9633a55eac6364816ec0ddd951389a740e88fa8b3337971bdda0

# Tools, as NAME VERSION PACKAGE: `go install PACKAGE@VERSION` makes NAME, the last element of PACKAGE or the one before
# a major version.
tools='
buf           v1.75.0 github.com/bufbuild/buf/cmd/buf
golangci-lint v2.15.0 github.com/golangci/golangci-lint/v2/cmd/golangci-lint
nats-server   v2.15.2 github.com/nats-io/nats-server/v2
'
