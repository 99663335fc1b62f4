package gotaprt

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	real "crypto/sha1"
	"net"
	"strings"
)

func TestHashes(t *testing.T) {
	for length := 0; length < 200; length++ {
		text := strings.Repeat("x", length)
		if sha1(text) != real.Sum([]byte(text)) {
			t.Error(length)
		}
	}
}

func TestHosts(t *testing.T) {
	text := "127.0.0.1 localhost\n::1 localhost ip6 # comment collector\nfe80::1%lo\tCollector other\n10.0.0.7 collector\nnonsense collector\n"
	want := []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fe80::1%lo")}
	if found := inHosts(text, "collector."); !reflect.DeepEqual(found, want) {
		t.Error(found)
	}
	if found := inHosts(text, "comment"); found != nil {
		t.Error(found)
	}
}

func TestResolvConf(t *testing.T) {
	found := parseResolvConf("; comment\nnameserver 10.0.0.10\nnameserver ::1\nsearch a.svc svc.\noptions ndots:5 timeout:1 attempts:3 edns0\n")
	if len(found.servers) != 2 || found.servers[0].String() != "10.0.0.10:53" || found.attempts != 3 || found.timeout != time.Second {
		t.Error(found)
	}
	if names := found.names("otel.monitoring"); !reflect.DeepEqual(names, []string{"otel.monitoring.a.svc.", "otel.monitoring.svc.", "otel.monitoring."}) {
		t.Error(names)
	}
	if names := parseResolvConf("search x").names("a.b"); !reflect.DeepEqual(names, []string{"a.b.", "a.b.x."}) {
		t.Error(names)
	}
	if names := found.names("a.b."); !reflect.DeepEqual(names, []string{"a.b."}) {
		t.Error(names)
	}
	if found := parseResolvConf(""); len(found.servers) != 1 || found.dots != 1 {
		t.Error(found)
	}
}

// serve answers questions as a name server: nothing where the answer is nil.
func serve(t *testing.T, answer func(question []byte) []byte) netip.AddrPort {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1024)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answer(append([]byte{}, buffer[:size]...)); reply != nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// records answers a question with records that name what was asked by a pointer.
func records(question []byte, code byte, all ...string) []byte {
	reply := append([]byte{}, question...)
	reply[2], reply[3], reply[7] = 0x81, 0x80|code, byte(len(all))
	for _, one := range all {
		reply = append(append(reply, 0xc0, 12), one...)
	}
	return reply
}

func TestNameServers(t *testing.T) {
	v4, v6 := "\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x01\x02\x03", "\x00\x1c\x00\x01\x00\x00\x00\x05\x00\x10"+strings.Repeat("\x01", 16)
	alias := "\x00\x05\x00\x01\x00\x00\x00\x05\x00\x04\x01a\xc0\x0c"
	server := serve(t, func(question []byte) []byte {
		six := question[len(question)-3] == typeAAAA
		switch name := string(question[13 : 13+question[12]]); {
		case name == "four" && !six:
			return records(question, 0, alias, v4)
		case name == "six" && six:
			return records(question, 0, v6)
		case name == "four", name == "six":
			return records(question, 0)
		case name == "cut":
			return records(question, 0, v4[:12])
		case name == "short":
			return question[:4]
		default:
			return records(question, 3)
		}
	})
	settings := resolver{servers: []netip.AddrPort{server}, attempts: 1, timeout: 200 * time.Millisecond}
	deadline := time.Now().Add(10 * time.Second)
	for name, want := range map[string]string{"four.x.": "[10.1.2.3]", "six.": "[101:101:101:101:101:101:101:101]"} {
		found, err := settings.ask(name, deadline)
		if err != nil || len(found) != 1 || "["+found[0].String()+"]" != want {
			t.Error(name, found, err)
		}
	}
	for name, want := range map[string]error{"other.": errNoHost, "short.": errNoAnswer, "a..b.": errNoHost} {
		if found, err := settings.ask(name, deadline); err != want || found != nil {
			t.Error(name, found, err)
		}
	}
	if found, _ := settings.ask("cut.", deadline); found != nil {
		t.Error(found)
	}
}

func TestConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	conn, err := dial(host, port, time.Now().Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 10)
	if size, err := conn.Read(buffer); err != nil || string(buffer[:size]) != "hello" {
		t.Error(string(buffer), err)
	}
	if _, err := conn.Read(buffer); err == nil {
		t.Error("the end of the stream")
	}
	conn.Close()
	listener.Close()
	if _, err := dial(host, port, time.Now().Add(10*time.Second)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	for _, port := range []string{"0", "65536", "x"} {
		if _, err := dial(host, port, time.Now().Add(time.Second)); err != errPort {
			t.Error(port, err)
		}
	}
}
