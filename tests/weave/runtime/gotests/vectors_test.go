package gotaprt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	traceHex = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanHex  = "00f067aa0ba902b7"
)

// The same headers as in tests/endtoend/test_trace_context.py, which watches a server from outside.
func TestTraceParent(t *testing.T) {
	invalid := []string{
		"", "00", "garbage",
		"00-" + traceHex + "-" + spanHex,
		"00-" + traceHex + "-" + spanHex + "-0",
		"00-" + traceHex + "-" + spanHex + "-01-",
		"00-" + traceHex + "-" + spanHex + "-01-more",
		"ff-" + traceHex + "-" + spanHex + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + spanHex + "-01",
		"00-" + traceHex + "-" + strings.Repeat("0", 16) + "-01",
		"00-" + strings.ToUpper(traceHex) + "-" + spanHex + "-01",
		"00-" + traceHex[:31] + "g-" + spanHex + "-01",
		"00_" + traceHex + "_" + spanHex + "_01",
		"0x-" + traceHex + "-" + spanHex + "-01",
		"00-" + traceHex + "-" + spanHex + "-zz",
		"01-" + traceHex + "-" + spanHex + "-01more",
	}
	for _, text := range invalid {
		if _, ok := parseTraceParent(text); ok {
			t.Error("taken:", text)
		}
	}
	for _, text := range []string{"01-" + traceHex + "-" + spanHex + "-01", "cc-" + traceHex + "-" + spanHex + "-03-what-comes-later"} {
		if id, ok := parseTraceParent(text); !ok || !id.sampled || formatTraceParent(&id) != "00-"+traceHex+"-"+spanHex+"-01" {
			t.Error("not taken:", text)
		}
	}
	if id, ok := parseTraceParent("00-" + traceHex + "-" + spanHex + "-02"); !ok || id.sampled {
		t.Error("flags")
	}
}

func TestTraceState(t *testing.T) {
	long := strings.Repeat("x", 250)
	for text, want := range map[string]string{
		"":                                "",
		" a=1 ,, b=2\t":                   "a=1,b=2",
		"a=1,a=2":                         "",
		"A=1":                             "",
		"a=1=2":                           "",
		"a=":                              "",
		"fw529a3039@dt=FfD;1,0tenant@v=x": "fw529a3039@dt=FfD;1,0tenant@v=x",
		"a=" + long + ",b=" + long + ",c=" + long: "a=" + long + ",b=" + long,
		"a=" + strings.Repeat("x", 257):           "",
		"a=\x01":                                  "",
	} {
		if got := parseTraceState(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf("k%d=v", i)
	}
	if parseTraceState(strings.Join(many, ",")) != "" || parseTraceState(strings.Join(many[1:], ",")) == "" {
		t.Error("32 entries are allowed, and no more")
	}
}

func TestSamplers(t *testing.T) {
	for _, one := range []struct {
		name, argument string
		threshold      uint64
		parentBased    bool
	}{
		{"", "", always, true},
		{"nonsense", "", always, true},
		{"always_on", "0.5", always, false},
		{"ALWAYS_OFF", "", 0, false},
		{"traceidratio", "0.25", 1 << 61, false},
		{"parentbased_traceidratio", "0.25", 1 << 61, true},
		{"parentbased_traceidratio", "", always, true},
		{"traceidratio", "2", always, false},
		{"traceidratio", "NaN", always, false},
		{"traceidratio", "0", 0, false},
		{"parentbased_always_off", "", 0, true},
	} {
		if got := samplerOf(one.name, one.argument); got.threshold != one.threshold || got.parentBased != one.parentBased {
			t.Error(one, got)
		}
	}
	quarter := sampler{1 << 61, false}
	// The trace id's last 8 bytes, halved, against the threshold.
	for last, want := range map[string]bool{"3fffffffffffffff": true, "4000000000000000": false, "ffffffffffffffff": false, "0000000000000001": true} {
		id, ok := parseTraceParent("00-" + traceHex[:16] + last + "-" + spanHex + "-01")
		if !ok || quarter.child(&id) != want {
			t.Error(last)
		}
	}
	if id, _ := parseTraceParent("00-" + traceHex + "-" + spanHex + "-01"); !(sampler{0, true}).child(&id) {
		t.Error("a sampled parent is not obeyed")
	}
}

func TestRandomIDs(t *testing.T) {
	sampled, seen := 0, map[[8]byte]bool{}
	for i := 0; i < 20000; i++ {
		id := newTrace(sampler{1 << 61, false})
		if id.sampled {
			sampled++
		}
		seen[newSpanID()], seen[id.spanID] = true, true
	}
	if len(seen) != 40000 || sampled < 4600 || sampled > 5400 {
		t.Error("ids:", len(seen), "sampled:", sampled)
	}
}

type own struct{ error }

func (own) Error() string { panic("never mind") }

func TestErrorTypes(t *testing.T) {
	for want, err := range map[string]error{
		"*errors.errorString": errors.New("x"),
		"timeout":             &url.Error{Op: "Get", Err: context.DeadlineExceeded},
		"canceled":            fmt.Errorf("x: %w", context.Canceled),
		"syscall.Errno":       &os.PathError{Op: "open", Err: os.NewSyscallError("open", syscall.ENOENT)},
		"gotaprt.own":         own{},
		"*fmt.wrapErrors":     fmt.Errorf("%w %w", io.EOF, io.EOF),
	} {
		if got := errorType(err); got != want {
			t.Errorf("%v: %s", want, got)
		}
	}
	if errorText(own{}) != "" || errorText(io.EOF) != "EOF" {
		t.Error("texts")
	}
	if text := errorText(errors.New(strings.Repeat("ä", 600))); text != strings.Repeat("ä", 512) {
		t.Error("a long text is not cut at a character")
	}
}

func TestAnswers(t *testing.T) {
	for text, want := range map[string]answer{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP":               {status: 200, keep: true, body: []byte("ok")},
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n":     {status: 204, keep: true},
		"HTTP/1.0 503\r\nRetry-After: 7\r\n\r\nbody":                       {status: 503, body: []byte("body"), retryAfter: 7 * time.Second},
		"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length:0\r\n\r\n": {status: 200},
		"HTTP/1.1 429 X\nTransfer-Encoding: chunked\nRetry-After: 99999\n\n3;x=y\nabc\n1\nd\n0\nTrailer: x\n\n": {
			status: 429, keep: true, body: []byte("abcd"), retryAfter: time.Hour},
	} {
		got, err := readAnswer(bufio.NewReader(strings.NewReader(text)))
		if err != nil || got.status != want.status || got.keep != want.keep || string(got.body) != string(want.body) || got.retryAfter != want.retryAfter {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\nx: " + strings.Repeat("y", 20000),
	} {
		if got, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%.60q: %+v", text, got)
		}
	}
	soon := retryAfter(time.Now().Add(90 * time.Second).UTC().Format(httpDate))
	if soon < 80*time.Second || soon > 90*time.Second || retryAfter("soon") != 0 {
		t.Error("a date:", soon)
	}
}

func TestRejectedSpans(t *testing.T) {
	partial := appendText(appendVarint(nil, 1, 300), 2, "full")
	if rejectedOf(appendBytes(nil, 1, partial)) != 300 || rejectedOf(nil) != 0 {
		t.Error("partial success")
	}
	for _, text := range []string{"\x0a", "\x0a\xff", "\x0a\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "{}"} {
		if rejectedOf([]byte(text)) != 0 {
			t.Errorf("%q", text)
		}
	}
}

func TestContainers(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]string{
		"0::/":             "",
		"0::/docker/" + id: id,
		"0::/a.slice/libpod-" + id + ".scope/container":                 id,
		"12:cpu:/x\n0::/kubepods.slice/pod1.slice:cri-containerd:" + id: id,
		"0::/ecs/" + id[:32] + "/" + id[:32] + "-1234567890":            id[:32] + "-1234567890",
		"0::/user.slice/user-0.slice/session-1.scope":                   "",
		"0::/" + id + "0": "",
	} {
		if got := containerID(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestWhatHasNoRoomIsCounted(t *testing.T) {
	found := with(samplers["always_on"], func() {
		_, s := Begin(nil, "s")
		for i := int64(0); i < attributeLimit+7; i++ {
			s.SetInt(fmt.Sprint(i), i)
			s.SetInt("0", -1)
		}
		s.End()
	})
	if len(found[0].attributes) != attributeLimit || found[0].lost != 7 || int64(found[0].attributes[0].number) != -1 {
		t.Error(len(found[0].attributes), found[0].lost)
	}
}

func TestPropagators(t *testing.T) {
	t.Cleanup(configure) // once the variables are what they were
	for value, want := range map[string]bool{"": true, "tracecontext,baggage": true, "none": false, "b3": false} {
		t.Setenv("OTEL_PROPAGATORS", value)
		configure()
		if header, _ := Headers(context.Background(), nil); (header != "") != want {
			t.Errorf("%q: %q", value, header)
		}
	}
	t.Setenv("OTEL_PROPAGATORS", "")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	configure()
	ctx, s := BeginRemote(context.Background(), Server, "s", remoteParent+"01", "")
	if header, _ := Headers(ctx, s); header != "" || s != nil {
		t.Error("disabled:", header)
	}
}
