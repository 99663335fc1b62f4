package gotaprt

import (
	"context"
	"syscall"
	"testing"
	"time"
)

//go:noinline
func plain() {}

//go:noinline
func hooked() {
	_, s := Begin(nil, "hooked")
	defer EndCall(&s, nil)
}

//go:noinline
func hookedWith(ctx context.Context) {
	ctx, s := Begin(ctx, "hooked")
	defer EndCall(&s, nil)
}

// benchmark reports processor time too, the collector's included: on a busy machine time alone says little. The queue is
// emptied now and then, since what is measured is the way up to it.
func benchmark(b *testing.B, s sampler, use func()) {
	with(s, func() {
		queue.limit, queue.batch = 1<<40, 1<<40
		b.ReportAllocs()
		b.ResetTimer()
		before := processorTime()
		for i := 0; i < b.N; i++ {
			use()
			if i&1023 == 1023 {
				queue.newest.Store(nil)
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
	})
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkPlain(b *testing.B) { benchmark(b, samplers["always_off"], plain) }

func BenchmarkAlwaysOff(b *testing.B) { benchmark(b, samplers["parentbased_always_off"], hooked) }

func BenchmarkUnsampledParentOfGoroutine(b *testing.B) {
	withFastIDs(func() {
		_, s := BeginRemote(nil, Server, "server", remoteParent+"00", "")
		benchmark(b, samplers["parentbased_always_on"], hooked)
		s.End()
	})
}

func BenchmarkUnsampledParentInContext(b *testing.B) {
	withFastIDs(func() {
		ctx, s := BeginRemote(context.Background(), Server, "server", remoteParent+"00", "")
		benchmark(b, samplers["parentbased_always_on"], func() { hookedWith(ctx) })
		s.End()
	})
}

func BenchmarkUnsampledRoot(b *testing.B) {
	withFastIDs(func() { benchmark(b, sampler{1, true}, hooked) })
}

func BenchmarkRecorded(b *testing.B) {
	withFastIDs(func() { benchmark(b, samplers["always_on"], hooked) })
}

func BenchmarkRecordedWithContext(b *testing.B) {
	ctx := context.Background()
	withFastIDs(func() { benchmark(b, samplers["always_on"], func() { hookedWith(ctx) }) })
}

func BenchmarkRecordedWithAttributes(b *testing.B) {
	withFastIDs(func() {
		benchmark(b, samplers["always_on"], func() {
			_, s := Begin(nil, "hooked", "one", "1", "two", "2")
			s.SetInt("three", 3)
			s.SetString("four", "4")
			s.End()
		})
	})
}

func BenchmarkRecordedInParallel(b *testing.B) {
	withFastIDs(func() {
		with(samplers["always_on"], func() {
			queue.limit, queue.batch = 1<<40, 1<<40
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					hooked()
					if i&1023 == 1023 {
						queue.newest.Store(nil)
					}
				}
			})
		})
	})
}
