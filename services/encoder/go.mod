module github.com/framebus/framebus/services/encoder

go 1.26.0

require (
	github.com/framebus/framebus/proto v0.0.0-00010101000000-000000000000
	github.com/framebus/framebus/services/internal v0.0.0-00010101000000-000000000000
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.opentelemetry.io/otel/trace v1.47.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	gocv.io/x/gocv v0.43.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
)

replace github.com/framebus/framebus/proto => ../../proto

replace github.com/framebus/framebus/services/internal => ../../services/internal
