package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (s *stand) serveLedger(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	text := s.ledger
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if text == "" {
		w.WriteHeader(http.StatusNotImplemented)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "the ledger is not built yet"})
		return
	}
	fmt.Fprint(w, text)
}

// books is the ledger as docs/protocol.md has it, second seconds on, so many delivered frames being unexplained.
func books(second, missing int) string {
	frames := 30 * second
	text := `{"explained": %EXPLAINED%, "streams": [{"stream": "cam0", "explained": %EXPLAINED%, "epochs": [{
  "epoch": "1764532436000000", "owner": "capture-1", "by": "cam", "state": "open", "explained": true,
  "told_us": %TOLD%, "sequence": 9000,
  "captured":  {"total": 9000, "published": 8000, "dropped": {"superseded": 100}, "unwanted": 900, "difference": 0},
  "published": {"total": 8000, "done": {"encoded": 7989, "overwritten": 1, "superseded": 3}, "unanswered": 5, "open": 2,
                "vouched": 1, "difference": 0},
  "encoders": {"difference": 0, "shares": [
    {"encoder": "enc-1", "done": {"encoded": 3999, "overwritten": 1}, "unanswered": 5, "open": 1},
    {"encoder": "enc-2", "done": {"encoded": 3990, "superseded": 3}, "unanswered": 0, "open": 1}]},
  "encoded": {"full": 7989, "half": 0, "quarter": 0},
  "gateways": [{"gateway": "gw-1", "told_us": %TOLD%, "settled": 8990, "undone": 0, "explained": %EXPLAINED%,
    "rungs": [{"rung": "full", "explained": %EXPLAINED%,
      "bus":     {"encoded": 7980, "unbooked": 0, "received": 7979, "lost": 1, "difference": 0},
      "hub":     {"arrived": 7990, "taken": 7988, "superseded": 1, "stale": 0, "malformed": 0, "queued": 1,
                  "overdue": 0, "duplicate": 0, "difference": 0},
      "viewers": {"offered": %OFFERED%, "delivered": %DELIVERED%, "skipped": {"superseded": 74}, "in_flight": 2,
                  "difference": %MISSING%}}]}]},
  {"epoch": "1764532000000000", "owner": "capture-0", "by": "cam", "state": "abandoned", "explained": true,
   "told_us": 1764532400000000, "sequence": 5, "captured": {"total": 5, "published": 0, "dropped": {}, "unwanted": 5,
   "difference": 0}, "gateways": []}]},
  {"stream": "door", "explained": true, "epochs": []}]}`
	return strings.NewReplacer("%EXPLAINED%", fmt.Sprint(missing == 0), "%TOLD%", fmt.Sprint(1764532736000000+second*1e6),
		"%OFFERED%", fmt.Sprint(15976+frames), "%DELIVERED%", fmt.Sprint(15900+frames-missing),
		"%MISSING%", fmt.Sprint(missing)).Replace(text)
}

func (s *stand) setLedger(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = text
}

func ledger(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	s.setLedger(books(0, 0))
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 800, false)
	b.eventually(painting3, "pictures are painted")
	b.press("l")
	b.eventually("document.querySelectorAll('#ledger [data-line]').length === 7", "l opens it")
	b.eventually("document.querySelector('.ledger-verdict').textContent === 'Every frame is explained.'", "it adds up")
	var lines []string
	b.eval(`[...document.querySelectorAll('#ledger .ledger-epoch[open] tr')].map((tr) =>
		[...tr.children].map((cell) => cell.textContent.replaceAll('\u202f', '')).join(' | '))`, &lines)
	require.Equal(t, []string{
		"Origin capture-1",
		"Source | 9000 captured | 8000 published100 superseded900 unwanted | ✓",
		"Encoders | 8000 published | 7989 encoded1 overwritten3 superseded5 unanswered2 open | ✓",
		"by encoder | 8000 published | 4006 enc-13994 enc-2 | ✓",
		"Gateway gw-1",
		"full · bus | 7980 encoded | 7979 received1 lost | ✓",
		"full · gateway | 7990 arrived | 7988 taken1 superseded1 queued | ✓",
		"full · viewers | 15976 offered | 15900 delivered74 superseded2 in flight | ✓",
	}, lines)
	b.eventually("document.querySelector('.ledger-meanings').textContent.includes('lost encoded, and never received')",
		"the words are told")
	var lost []string
	b.eval("[...document.querySelectorAll('#ledger [data-line=published] .loss')].map((e) => e.dataset.name)", &lost)
	require.Equal(t, []string{"overwritten", "superseded", "unanswered"}, lost)
	b.eventually("document.querySelector('.ledger-meanings').textContent.includes('overwritten its shared memory')",
		"a frame that could not be read any more")
	var unfolded []bool
	b.eval("[...document.querySelectorAll('#ledger details')].map((d) => d.open)", &unfolded)
	require.Equal(t, []bool{true, true, false, false}, unfolded, "the stream that is shown, and its newest epoch")

	// What cannot be explained is red; what is gained lately stands beside.
	s.setLedger(books(4, 3))
	const viewers = `#ledger [data-line$="viewers"]`
	b.eventually("document.querySelector('"+viewers+" .ledger-check').textContent === '+3 not explained'",
		"it is read again, and the difference is told")
	b.eventually("getComputedStyle(document.querySelector('"+viewers+" .ledger-check')).color === 'rgb(248, 113, 113)'",
		"in red")
	b.eventually("document.querySelector('.ledger-verdict').classList.contains('bad')", "as is the whole")
	b.eventually("document.querySelector('"+viewers+" .ledger-total small').textContent === ' 30.0/s'", "the gain is told")
	b.eval("document.querySelector('#ledger .ledger-epoch summary').click()", nil)
	s.setLedger(books(5, 0))
	b.eventually("!document.querySelector('.ledger-verdict').classList.contains('bad') && "+
		"!document.querySelector('#ledger .ledger-epoch').open", "what was folded stays so")
	b.eval("document.querySelector('#ledger .ledger-epoch summary').click()", nil)
	s.setLedger(books(6, 2))
	b.eventually("document.querySelector('"+viewers+" .ledger-check.bad')", "it goes on")
	b.keep("ledger")
	b.press("t")
	b.eventually("document.querySelector('#ledger').hidden && "+sheetOpen, "one sheet at a time")
	b.press("\x1b")
	b.click("[data-action=ledger]")
	b.eventually("!document.querySelector('#ledger').hidden", "the button opens it")
	b.press("\x1b")
	b.eventually("document.querySelector('#ledger').hidden", "Escape closes it")
	require.Empty(t, b.complaints())

	phone := open(t, ctx, "http://"+s.addr+"/", 390, 844, true)
	phone.eventually(painting3, "pictures are painted")
	phone.click("[data-action=ledger]")
	phone.eventually("document.querySelectorAll('#ledger [data-line]').length === 7", "a phone shows it too")
	var bad bool
	phone.eval(`(() => {
		const r = document.querySelector('#ledger').getBoundingClientRect();
		return r.left < 0 || r.right > innerWidth || r.top < 0 || r.bottom > innerHeight ||
			[...document.querySelectorAll('#ledger, #ledger .sheet-body')].some((e) => e.scrollWidth > e.clientWidth);
	})()`, &bad)
	phone.keep("phone-ledger")
	require.False(t, bad, "it fits")
	s.setLedger("")
	phone.eventually("document.querySelector('.ledger-verdict').textContent === 'The ledger is not built yet'",
		"a refusal is told")
}
