module github.com/framebus/framebus/services/client

go 1.26.0

require (
	github.com/at-wat/ebml-go v0.19.4
	github.com/framebus/framebus/proto v0.0.0-00010101000000-000000000000
	github.com/gorilla/websocket v1.5.3
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.25.0
	google.golang.org/protobuf v1.36.12
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/framebus/framebus/proto => ../../proto
