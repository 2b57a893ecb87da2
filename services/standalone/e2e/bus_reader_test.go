//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePythonReaderTakesFramesOffTheBus(t *testing.T) {
	bus := startBus(t, "nats.conf")
	startAs(t, options{}, bus.url(), bus.url(), bus.url())
	const script = `
import sys
sys.path.insert(0, sys.argv[1])
from reader import frames
where, password = ("127.0.0.1", sys.argv[2], "cam0"), sys.argv[3]
before = 0
for i, (w, h, n, jpeg) in zip(range(30), frames(*where, password=password)):
    assert (w, h) == (640, 480) and jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9" and n > before
    before = n
for i, (w, h, n, raw) in zip(range(30), frames(*where, raw=True, password=password)):
    assert (w, h) == (640, 480) and len(raw) == w * h * 3 // 2 and n > before
    before = n
try:
    next(frames(*where, password="wrong"))
except PermissionError as refused:
    assert "Authorization Violation" in str(refused)
else:
    raise SystemExit("a wrong password is good enough")
print("all of it")
`
	cmd := exec.Command("python3", "-B", "-c", script, filepath.Join("..", "..", "..", "docs", "examples"),
		port(t, bus.addr), busPassword("reader"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "all of it")
}
