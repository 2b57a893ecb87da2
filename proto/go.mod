module github.com/framebus/framebus/proto

go 1.26

require (
	github.com/stretchr/testify v1.12.1
	google.golang.org/protobuf v1.36.12
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

tool (
	github.com/stretchr/testify
	google.golang.org/protobuf/cmd/protoc-gen-go
)
