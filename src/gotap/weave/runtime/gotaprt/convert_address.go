package gotaprt

import (
	"net/netip"
	"strconv"
	"strings"
)

// HostName is `host_name`: server.address of a Host value, without port and brackets.
func HostName(host Text) Value {
	if !host.some() {
		return Value{}
	}
	if host.state == columnCut {
		return textOf(host.shown())
	}
	name, _ := splitHost(host.valid())
	return nonEmpty(name)
}

// HostPort is `host_port`: server.port of a Host value; where that has none, the scheme's, if a scheme is given.
func HostPort(host, scheme Text) Value {
	if !host.some() || host.state == columnCut {
		return Value{}
	}
	_, port := splitHost(host.text)
	if port != "" {
		return portOf(port, 0xffff)
	}
	switch strings.ToLower(scheme.text) {
	case "http":
		return intOf(80)
	case "https":
		return intOf(443)
	}
	return Value{}
}

// PeerAddress is `peer_address`: client.address of a connection's remote address, its IP or its Unix socket's name.
func PeerAddress(peer Text) Value {
	if !peer.some() || peer.state == columnCut {
		return Value{}
	}
	address := peer.valid()
	if address[0] == '/' || address[0] == '@' {
		if len(address) == 1 {
			return Value{}
		}
		return textOf(address)
	}
	ip, _ := splitPeer(address)
	return nonEmpty(ip)
}

// PeerPort is `peer_port`: client.port of a connection's remote address.
func PeerPort(peer Text) Value {
	if !peer.some() || peer.state == columnCut {
		return Value{}
	}
	_, port := splitPeer(peer.text)
	return portOf(port, 1<<63-1)
}

func nonEmpty(text string) Value {
	if text == "" {
		return Value{}
	}
	return textOf(text)
}

// portOf reads a number that is not more than most.
func portOf(port string, most uint64) Value {
	number, err := strconv.ParseUint(port, 10, 64)
	if err != nil || number > most {
		return Value{}
	}
	return intOf(int64(number))
}

// splitHost gives a Host value's name and port as net/url's URL.Hostname and URL.Port do, save that an IPv6 address
// without brackets is a name.
func splitHost(host string) (name, port string) {
	name, port = host, ""
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && allDigits(host[colon+1:]) &&
		(strings.IndexByte(host[:colon], ':') < 0 || host[0] == '[') {
		name, port = host[:colon], host[colon+1:]
	}
	return withoutBrackets(name), port
}

func allDigits(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

func withoutBrackets(name string) string {
	if len(name) >= 2 && name[0] == '[' && name[len(name)-1] == ']' {
		return name[1 : len(name)-1]
	}
	return name
}

// splitPeer gives the IP address, with its zone, and the port of what net.TCPAddr.String says; nothing of anything else.
func splitPeer(peer string) (ip, port string) {
	colon := strings.LastIndexByte(peer, ':')
	if colon < 0 {
		return "", ""
	}
	ip = withoutBrackets(peer[:colon])
	plain, zone, zoned := strings.Cut(ip, "%")
	if zoned && (zone == "" || strings.ContainsAny(zone, "%/")) {
		return "", ""
	}
	if address, err := netip.ParseAddr(plain); err != nil || zoned && !address.Is6() {
		return "", ""
	}
	return ip, peer[colon+1:]
}
