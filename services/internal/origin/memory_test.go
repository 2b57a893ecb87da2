package origin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/shm/shmtest"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestASlotIsGivenAwayOnlyWhenNobodyHasIt plays pictures and references that come and go in any order, and regions that
// are replaced meanwhile.
func TestASlotIsGivenAwayOnlyWhenNobodyHasIt(t *testing.T) {
	folder, path := shmtest.Folder(t)
	rapid.Check(t, func(t *rapid.T) {
		const slots, room = 3, 10
		now := time.Unix(1, 0)
		m := memory{slots: slots}
		m.ask(frame.I420, room)
		seated := []place{}         // of pictures here
		out := map[frameID]place{}  // references, and what they name
		named := map[place]uint64{} // the generation of the last reference to a slot, until it has changed
		sequence := uint64(0)
		unclosed := map[*shm.Region]bool{}
		defer func() { // of a run that is broken off
			for r := range unclosed {
				_ = r.Close()
			}
		}()
		create := func(room int) {
			r, err := folder.Create(slots, room)
			require.NoError(t, err)
			unclosed[r] = true
			m.made(r, now)
		}
		tidy := func() {
			_, closed := m.tidy()
			for _, r := range closed {
				for p := range named {
					if p.in.Region == r {
						delete(named, p)
					}
				}
				delete(unclosed, r)
				require.NoError(t, r.Close())
			}
		}
		drawn := func(n int) int {
			if n == 0 {
				t.Skip()
			}
			return rapid.IntRange(0, n-1).Draw(t, "which")
		}
		create(room)
		t.Repeat(map[string]func(*rapid.T){
			"a picture": func(t *rapid.T) {
				p := m.take(rapid.IntRange(0, 2*room).Draw(t, "size"))
				if p.in == nil {
					return
				}
				require.NotContains(t, seated, p)
				for _, taken := range out {
					require.NotEqual(t, taken, p)
				}
				if generation, was := named[p]; was {
					require.Greater(t, p.in.Generation(p.slot), generation, "an old reference still holds")
				}
				seated = append(seated, p)
			},
			"its end": func(*rapid.T) {
				i := drawn(len(seated))
				seated[i].leave()
				seated = slices.Delete(seated, i, i+1)
			},
			"a reference": func(*rapid.T) {
				p := seated[drawn(len(seated))]
				sequence++
				id := frameID{1, sequence}
				named[p] = p.reference(1).Generation
				m.lend(id, p)
				out[id] = p
			},
			"its return": func(t *rapid.T) {
				id := frameID{1, rapid.Uint64Range(0, sequence+1).Draw(t, "frame")}
				m.back(id)
				if p, was := out[id]; was {
					require.Greater(t, p.in.Generation(p.slot), named[p])
				}
				delete(out, id)
			},
			"a larger picture": func(*rapid.T) {
				m.ask(frame.I420, m.room+1)
				now = now.Add(remakeAfter)
				require.Equal(t, m.room, m.wants(now))
				create(m.room)
			},
			"no region": func(*rapid.T) { m.giveUp() },
			"": func(*rapid.T) {
				tidy()
				require.Len(t, m.loans, len(out))
				var users, free, regions int
				for _, r := range append(slices.Clone(m.old), m.region) {
					if r == nil {
						continue
					}
					regions++
					free += len(r.free)
					for _, n := range r.users {
						users += int(n)
					}
				}
				require.Equal(t, len(seated)+len(out), users)
				require.LessOrEqual(t, free, regions*slots)
			},
		})
		for _, p := range seated {
			p.leave()
		}
		for id := range out {
			m.back(id)
		}
		m.giveUp()
		tidy()
		require.Empty(t, m.old, "every region is closed in the end")
		require.Zero(t, m.bytes())
		require.Empty(t, regionsIn(t, path))
	})
}

func TestRoomGrowsWithThePictures(t *testing.T) {
	m := memory{}
	require.Zero(t, m.wants(time.Now()), "nobody has asked")
	for _, c := range []struct {
		format     frame.Format
		size, room int
	}{
		{frame.JPEG, 1, roomStep},
		{frame.JPEG, roomStep, roomStep},
		{frame.JPEG, roomStep + 1, 2 * roomStep},
		{frame.JPEG, 5*roomStep + 1, 8 * roomStep},
		{frame.JPEG, 1, 8 * roomStep},
		{frame.I420, 8*roomStep + 1, 8*roomStep + 1},
		{frame.I420, 1, 8*roomStep + 1},
	} {
		m.ask(c.format, c.size)
		require.Equal(t, c.room, m.wants(time.Now()), c)
	}
}

func TestARegionThatCannotBeMadeIsTriedAgainInAMinute(t *testing.T) {
	m := memory{room: 10}
	now := time.Unix(1, 0)
	require.Equal(t, 10, m.wants(now))
	m.made(nil, now)
	require.Zero(t, m.wants(now.Add(retryAfter-1)))
	now = now.Add(retryAfter)
	require.Equal(t, 10, m.wants(now))

	folder, _ := shmtest.Folder(t)
	r, err := folder.Create(1, 10)
	require.NoError(t, err)
	defer r.Close()
	m.made(r, now)
	require.Zero(t, m.wants(now.Add(time.Hour)), "it does")
	require.NoError(t, r.Remove())
	require.Zero(t, m.wants(now.Add(remakeAfter-1)), "whoever removes them all the time must not keep us busy")
	require.Equal(t, 10, m.wants(now.Add(remakeAfter)))
	require.NotNil(t, m.region, "until there is another")
}

// sentDone is a Done as it comes off the bus.
func sentDone(t *testing.T, d *pb.Done) bus.Msg {
	t.Helper()
	data, err := proto.Marshal(d)
	require.NoError(t, err)
	return bus.Msg{Data: data}
}

const frameBytes = width*height + width*height/2

// lending is an owner that the test turns by hand, whose encoders have mapped its region, as has the test; file is the
// region's.
func lending(t *testing.T, slots int, wall func() time.Time) (o *Origin, shoot func(), m *shm.Mapping, file string) {
	t.Helper()
	o, shoot = byHand(t, wall)
	folder, path := shmtest.Folder(t)
	o.d.Shm, o.mem.slots = folder, slots
	t.Cleanup(func() {
		tick := time.NewTicker(look)
		defer tick.Stop()
		o.settle(tick)
		o.tidy()
		require.Empty(t, o.mem.loans)
		require.Empty(t, regionsIn(t, path))
	})
	o.mem.ask(frame.I420, frameBytes)
	o.furnish(time.Now())
	r := o.StreamStatus().GetRegion()
	require.EqualValues(t, slots, r.GetSlots())
	for _, name := range []string{"enc-a", "enc-b"} {
		o.credit.hearMapped(name, 1, [][]byte{{1, 2, 3}, make([]byte, 16), r.GetId()})
	}
	m, err := folder.Map(regionID(r.GetId()), r.GetFile(), r.GetSize(), r.GetSlots())
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return o, shoot, m, filepath.Join(path, r.GetFile())
}

func TestAReferenceEndsBeforeItsSlotIsGivenAway(t *testing.T) {
	silentFor := func(d time.Duration) func(*Origin) {
		return func(o *Origin) {
			o.listening = time.Now().Add(-time.Hour)
			now := time.Now().Add(d)
			o.lose(o.credit.tick(now, o.listening), now)
		}
	}
	hear := func(s *pb.Status) func(*Origin) { return func(o *Origin) { o.hearStatus(s, time.Now()) } }
	for name, ends := range map[string]func(*Origin){
		"with its Done": func(o *Origin) {
			o.hearDone(sentDone(t, &pb.Done{Encoder: "enc-a", Run: 1, Epoch: 1, Sequence: 1}), time.Now())
		},
		"when its time is up":     silentFor(firstUsual + patience + 1),
		"when nobody listened":    func(o *Origin) { o.hearNobody(o.subject("enc-a"), time.Now()) },
		"with the connection":     func(o *Origin) { o.dataSince = time.Time{}; o.follow(time.Now()) },
		"with the encoder's run":  hear(&pb.Status{Instance: "enc-a", Run: 2, Encoder: &pb.EncoderStatus{Workers: 1}}),
		"when that is long gone":  silentFor(time.Minute),
		"with the stream's owner": func(o *Origin) { o.closeBooks(time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			o, shoot, m, _ := lending(t, 2, nil)
			shoot()
			o.serve()
			require.Len(t, o.mem.loans, 1)
			lent := o.mem.loans[0].place
			ref := lent.reference(frameBytes)
			pixels, err := m.Read(&ref)
			require.NoError(t, err)
			defer pixels.Release()
			shoot() // takes the other slot
			shoot() // and there is none
			require.EqualValues(t, 1, o.mem.missed)
			require.NoError(t, pixels.Check())

			ends(o)
			require.ErrorIs(t, pixels.Check(), shm.ErrOverwritten)
			require.Empty(t, o.mem.loans)
			balanced(t, o.StreamStatus().GetBook())
			if o.kept != nil {
				require.Equal(t, lent, o.kept.at, "it may yet be handed on")
				require.NotContains(t, lent.in.free, lent.slot)
			}
			o.forgetKept()
			if o.hand == nil {
				require.Contains(t, lent.in.free, lent.slot)
			}
		})
	}
}

func TestARefusedFrameIsHandedOnByANewReference(t *testing.T) {
	o, shoot, m, _ := lending(t, 2, nil)
	shoot()
	o.serve()
	first := o.mem.loans[0].place
	ref := first.reference(frameBytes)
	o.hearNobody(o.subject("enc-a"), time.Now())
	_, err := m.Read(&ref)
	require.ErrorIs(t, err, shm.ErrOverwritten)
	require.Empty(t, o.mem.loans)
	o.serve()
	require.True(t, o.credit.holds("enc-b", frameID{1, 1}))
	require.Equal(t, []loan{{frameID{1, 1}, first}}, o.mem.loans)
	ref = first.reference(frameBytes)
	pixels, err := m.Read(&ref)
	require.NoError(t, err)
	pixels.Release()
	require.Equal(t, [ways]uint64{0, 2}, o.mem.handed)
}

func TestAnEndedEpochsFramesKeepTheirSlots(t *testing.T) {
	var step time.Duration
	o, shoot, m, _ := lending(t, 2, func() time.Time { return time.Now().Add(step) })
	shoot()
	o.serve()
	lent := o.mem.loans[0].place
	ref := lent.reference(frameBytes)
	pixels, err := m.Read(&ref)
	require.NoError(t, err)
	defer pixels.Release()
	shoot()
	step = time.Hour
	require.True(t, o.decide(time.Now()))
	require.NoError(t, pixels.Check(), "its encoder is still at it")
	require.Nil(t, o.kept)
	require.Equal(t, []int{1 - lent.slot}, lent.in.free, "the frame that waited was dropped")
	o.hearDone(sentDone(t, &pb.Done{Encoder: "enc-a", Run: 1, Epoch: 1, Sequence: 1}), time.Now())
	require.ErrorIs(t, pixels.Check(), shm.ErrOverwritten)
	require.Len(t, lent.in.free, 2)
}

func TestOfMemoryThatWasCutNothingIsPublished(t *testing.T) {
	for _, size := range []int64{0, 5000} {
		o, shoot, _, file := lending(t, 3, nil)
		shoot()
		o.serve() // open
		shoot()   // waits
		require.NoError(t, os.Truncate(file, size))
		o.serve()
		b := o.StreamStatus().GetBook()
		balanced(t, b)
		require.Equal(t, map[string]uint64{"memory": 1}, b.GetDropped())
		shoot() // on the heap
		o.serve()
		b = o.StreamStatus().GetBook()
		balanced(t, b)
		require.EqualValues(t, 2, b.GetPublished())
		require.Equal(t, [ways]uint64{1, 1}, o.mem.handed)
		o.hearNobody(o.subject("enc-a"), time.Now())
		o.furnish(time.Now().Add(remakeAfter))
		require.NotNil(t, o.mem.region)
		require.NotEqual(t, filepath.Base(file), o.mem.region.File())
		require.NoFileExists(t, file)
	}
}

func TestASlotBeingFilledOutlivesItsOwner(t *testing.T) {
	o, _, _, _ := lending(t, 2, nil)
	buf := o.Begin(time.Now(), width, height)
	tick := time.NewTicker(look)
	defer tick.Stop()
	o.settle(tick)
	o.tidy()
	require.Len(t, o.mem.old, 1, "the source still writes there")
	buf[len(buf)-1] = 1
	o.Commit()
	require.Empty(t, o.mem.old)
	require.Nil(t, o.Begin(time.Now(), width, height))
}

func TestAFrameAllocatesNothingInSharedMemory(t *testing.T) {
	o, _, _, _ := lending(t, 2, nil)
	at := time.Now()
	shoot := func() {
		at = at.Add(33 * time.Millisecond)
		if o.Begin(at, width, height) == nil {
			t.Fatal("not wanted")
		}
		o.Commit()
	}
	shoot()
	require.Zero(t, testing.AllocsPerRun(100, shoot))
	require.Zero(t, o.mem.missed, "what is superseded gives its slot back")
	b := make([]byte, frame.HeaderLen+frame.ReferenceLen)
	p, _ := o.slot.TryTake()
	defer o.release(p)
	p.jpeg = false
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p.refer(b)
		o.mem.lend(p.id(), p.at)
		o.mem.back(p.id())
	}))
}
