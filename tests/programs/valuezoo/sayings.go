package main

import (
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

// Types of the standard library with a String method, which %+v calls.
func sayings() {
	add("net.IP", net.IPv4(10, 0, 0, 1))
	add("net.IP of 4 bytes", net.IP{10, 0, 0, 1})
	add("net.IP of 6", net.ParseIP("2001:db8::1"))
	add("net.IP of zeros", net.IPv6zero)
	add("nil net.IP", net.IP(nil))
	add("odd net.IP", net.IP{1, 2, 3})
	add("net.IPMask", net.CIDRMask(8, 32))
	add("net.HardwareAddr", net.HardwareAddr{0, 0x1a, 0xff})
	add("nil net.IPMask", net.IPMask(nil))
	add("nil net.HardwareAddr", net.HardwareAddr(nil))
	add("*net.TCPAddr", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
	add("*net.TCPAddr of 6", &net.TCPAddr{IP: net.IPv6loopback, Port: 1, Zone: "eth0"})
	add("*net.TCPAddr empty", &net.TCPAddr{Port: 80})
	add("net.Addr", net.Addr(&net.UDPAddr{IP: net.IPv4(1, 2, 3, 4), Port: 53}))
	add("*net.IPAddr", &net.IPAddr{IP: net.IPv4(1, 2, 3, 4)})
	add("*net.UnixAddr", &net.UnixAddr{Name: "/run/socket", Net: "unix"})
	for _, text := range []string{"http://example.com/a/b?c=d&e#f", "/path only", "https://user:p%40ss@host:8080", "mailto:someone@x.org",
		"http://x/a%2Fb/%C3%A9!", "//host/x", "?q", "http://[::1]:80/", "http://x/?", "relative/path", "*", "", "file:///etc/passwd",
		"http://h/é#ä b", "a:b"} {
		parsed, err := url.Parse(text)
		if err == nil {
			add("*url.URL "+text, parsed)
		}
	}
	add("url.URL built", &url.URL{Scheme: "http", Host: "a b", Path: "c:d e", RawQuery: "x y"})
	add("url.URL relative with colon", &url.URL{Path: "a:b"})
	add("nil *url.URL", (*url.URL)(nil))
	large, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	add("*big.Int", large)
	add("*big.Int zero", new(big.Int))
	add("*big.Int positive", big.NewInt(1<<62))
	add("fs.FileMode", fs.FileMode(0o754)|fs.ModeDir|fs.ModeSticky)
	add("fs.FileMode plain", fs.FileMode(0o644))
	if info, err := os.Stat("/dev/null"); err == nil {
		add("fs.FileMode device", info.Mode())
	}
	add("*time.Location", time.FixedZone("CEST", 7200))
	add("*time.Location UTC", time.UTC)
}
