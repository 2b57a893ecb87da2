# framebus. `make help` lists what there is; `make run` is where to begin.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every recipe that needs Go begins with this: which Go, where OpenCV is, what is pinned.
E := set -eu -o pipefail; . deploy/setup/env.sh;

ARGS ?=
FUZZTIME ?= 10s
BENCH ?= .
BENCHTIME ?= 1s
E2E_TIMEOUT ?= 30m

MODULES := $(shell sed -n 's|^[[:space:]]*\./|./|p' go.work)
PACKAGES := $(MODULES:%=%/...)
# Without cgo, so built for other systems too.
NOCGO := ./proto/... ./services/client/... ./services/gateway/... \
  $(patsubst %,./services/internal/%/...,bus instrument mailbox natsd origin presence service shm stage staleness telemetry)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X github.com/framebus/framebus/services/internal/service.Version=$(VERSION)

.PHONY: help run setup build test e2e images images-offline e2e-compose sbom lint check-observability check-kubernetes generate check-generated bench bench-chain bench-telemetry bench-links simulate fuzz cover offwork cross clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo; echo "  ARGS='…' is handed on: make run ARGS='--sources door=rtsp://…', make test ARGS='-run Credit'"

run: ## install what is missing, build, run everything in one process; prints the viewer's URL
	@deploy/setup/setup.sh run
	@$(MAKE) build
	@exec bin/framebus up $(ARGS)

setup: ## install what building and testing need
	@deploy/setup/setup.sh test

build: ## bin/framebus, bin/framebus-view (with a window), bin/capture, bin/encoder, bin/gateway
	@$(E) [ -d bin ] || echo 'building; the first time on a machine takes minutes, most of it C++'; mkdir -p bin; go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./services/standalone/cmd/framebus \
	  ./services/standalone/cmd/framebus-view ./services/capture/cmd/capture ./services/encoder/cmd/encoder \
	  ./services/gateway/cmd/gateway

test: ## install what is missing and run all tests, with the race detector
	@deploy/setup/setup.sh test
	@$(E) go test -race $(ARGS) $(PACKAGES)

e2e: build ## whatever has a time or a rate in it: the built programs on a real nats-server
	@$(E) export FRAMEBUS_NATS_SERVER=$$(deploy/setup/tool.sh nats-server) FRAMEBUS_BIN=$(CURDIR)/bin; \
	  $(if $(ARGS),,for t in jaeger prometheus pyroscope; do deploy/setup/tool.sh $$t >/dev/null; done;) \
	  cd services/standalone && go test -tags $$FRAMEBUS_TAGS,e2e -count=1 -timeout $(E2E_TIMEOUT) $(ARGS) ./e2e/...

images: ## the images of capture, encoder and gateway; a registry has what they are made from
	@deploy/setup/docker.sh
	@FRAMEBUS_VERSION=$${FRAMEBUS_VERSION:-dev} docker compose build capture encoder gateway

images-offline: ## every image of docker-compose.yml without a registry, Grafana's excepted (docs/operations.md)
	@deploy/setup/docker.sh
	@deploy/offline/images.sh

e2e-compose: ## docker-compose.yml on a real Docker engine, with the images that are there (make images first)
	@deploy/setup/docker.sh
	@$(E) cd services/standalone && go test -tags $$FRAMEBUS_TAGS,compose -count=1 -timeout $(E2E_TIMEOUT) $(ARGS) ./e2e

sbom: ## what is in the images, for scanners: artifacts/sbom/*.cdx.json
	@deploy/docker/sbom.sh

lint: ## golangci-lint on every module, the end-to-end tests included; import rules too
	@$(E) "$$(deploy/setup/tool.sh golangci-lint)" run $(ARGS) $(PACKAGES)

check-observability: ## Prometheus' rules and their tests, its configurations, Jaeger's; builds promtool and jaeger once
	@$(E) promtool=$$(deploy/setup/tool.sh promtool) jaeger=$$(deploy/setup/tool.sh jaeger); cd deploy; \
	  "$$promtool" check config --lint=all --lint-fatal prometheus/prometheus.yml prometheus/local.yml; \
	  "$$promtool" test rules prometheus/alerts_test.yml; \
	  "$$jaeger" validate --config jaeger/config.yaml

check-kubernetes: ## the manifests, built and validated strictly; builds kustomize and kubeconform once
	@deploy/kubernetes/check.sh

generate: ## Go from the schema; refuses a schema that old peers could not read
	@$(E) buf=$$(deploy/setup/tool.sh buf); cd proto; "$$buf" lint; \
	  "$$buf" breaking --against baseline.binpb; "$$buf" generate; \
	  "$$buf" build --exclude-source-info -o baseline.binpb

check-generated: ## fails where the committed code is not what the schema gives
	@$(E) buf=$$(deploy/setup/tool.sh buf); tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; cd proto; "$$buf" lint; \
	  "$$buf" breaking --against baseline.binpb; "$$buf" generate -o "$$tmp"; \
	  "$$buf" build --exclude-source-info -o "$$tmp/baseline.binpb"; \
	  diff -r framebusv1 "$$tmp/framebusv1" && cmp baseline.binpb "$$tmp/baseline.binpb" || \
	  { echo 'proto: what is generated is not current: run make generate, and commit'; exit 1; }

bench: ## benchmarks, with allocations: BENCH=Fanout BENCHTIME=3s
	@$(E) go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(ARGS) $(PACKAGES)

bench-chain: build ## what the whole chain costs: fps, age, CPU and memory (docs/performance.md)
	@$(E) export FRAMEBUS_NATS_SERVER=$$(deploy/setup/tool.sh nats-server) FRAMEBUS_BIN=$(CURDIR)/bin; \
	  cd services/standalone && go test -tags $$FRAMEBUS_TAGS,e2e,figures -count=1 -v -run FiguresOfTheChain ./e2e

bench-telemetry: build ## what telemetry costs: off, one frame a second, everything, side by side (docs/performance.md)
	@$(E) export FRAMEBUS_NATS_SERVER=$$(deploy/setup/tool.sh nats-server) FRAMEBUS_BIN=$(CURDIR)/bin; \
	  cd services/standalone && go test -tags $$FRAMEBUS_TAGS,e2e,figures -count=1 -v -run FiguresOfTelemetry ./e2e

bench-links: build ## adaptation on links of all round trips, and beside other servers (docs/adaptation.md)
	@$(E) export FRAMEBUS_NATS_SERVER=$$(deploy/setup/tool.sh nats-server) FRAMEBUS_BIN=$(CURDIR)/bin; \
	  cd services/standalone && go test -tags $$FRAMEBUS_TAGS,e2e,figures -count=1 -v -timeout 30m \
	  -run 'FiguresOf(Links|TheComparison)' ./e2e

simulate: ## the rules of adaptation over simulated networks: a table, and plots in docs/adaptation/
	@$(E) go run ./services/internal/adapt/simulate/cmd/simulate docs/adaptation

fuzz: ## every fuzz target for FUZZTIME
	@$(E) grep -rlE '^func Fuzz' --include='*_test.go' $(MODULES) | while read -r file; do \
	  for f in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$file"); do \
	    echo "== $$f ($$(dirname "$$file"))"; \
	    go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	  done; done

cover: ## coverage of all tests: cover.out, and the total
	@$(E) go test -coverprofile cover.out -coverpkg '$(shell echo $(PACKAGES) | tr ' ' ,)' $(PACKAGES); \
	  go tool cover -func cover.out | tail -1

offwork: ## every module by its own go.mod alone: builds and vets without the workspace
	@$(E) export GOWORK=off; bad=; for m in $(MODULES); do echo "== $$m"; \
	  (cd $$m; go build -trimpath ./... && go vet -tags $$FRAMEBUS_TAGS,e2e,compose ./...) || bad+=" $$m"; done; \
	  [ -z "$$bad" ] || { echo "without the workspace these do not build:$$bad"; exit 1; }

cross: ## what has no cgo, for darwin/arm64
	@$(E) GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build $(NOCGO)

clean: ## bin/, artifacts/, coverage; the tool cache stays
	@rm -rf bin artifacts cover.out
