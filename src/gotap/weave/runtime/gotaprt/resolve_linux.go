package gotaprt

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	errNoHost   = errors.New("no such host")
	errNoAnswer = errors.New("no answer of a name server that makes sense")
)

// resolver is what resolv.conf(5) says.
type resolver struct {
	servers  []netip.AddrPort
	search   []string
	dots     int
	attempts int
	timeout  time.Duration
}

// resolve finds a host's addresses: written as such, in /etc/hosts, or by DNS over UDP.
func resolve(host string, deadline time.Time) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	if found := inHosts(content("/etc/hosts"), host); len(found) > 0 {
		return found, nil
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	settings := parseResolvConf(content("/etc/resolv.conf"))
	err := errNoHost
	for _, name := range settings.names(host) {
		var found []netip.Addr
		if found, err = settings.ask(name, deadline); len(found) > 0 {
			return found, nil
		}
	}
	return nil, errors.New(host + ": " + err.Error())
}

// inHosts reads hosts(5); IPv4 first, since not every host has the other.
func inHosts(text, host string) (found []netip.Addr) {
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		for i, name := range fields {
			if i == 0 || !strings.EqualFold(name, strings.TrimSuffix(host, ".")) {
				continue
			}
			address, err := netip.ParseAddr(fields[0])
			switch {
			case err != nil:
			case address.Is4():
				found = append([]netip.Addr{address}, found...)
			default:
				found = append(found, address)
			}
		}
	}
	return found
}

func parseResolvConf(text string) resolver {
	found := resolver{dots: 1, attempts: 2, timeout: 5 * time.Second}
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if address, err := netip.ParseAddr(fields[1]); err == nil && len(found.servers) < 3 {
				found.servers = append(found.servers, netip.AddrPortFrom(address, 53))
			}
		case "domain", "search":
			found.search = fields[1:]
		case "options":
			for _, option := range fields[1:] {
				name, value, _ := strings.Cut(option, ":")
				number, err := strconv.ParseUint(value, 10, 8)
				if err != nil {
					continue
				}
				switch name {
				case "ndots":
					found.dots = int(number)
				case "attempts":
					found.attempts = int(number)
				case "timeout":
					found.timeout = time.Duration(number) * time.Second
				}
			}
		}
	}
	if len(found.servers) == 0 {
		found.servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
	return found
}

// names are those to ask for, in this order.
func (r resolver) names(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var found []string
	for _, domain := range r.search {
		found = append(found, host+"."+strings.TrimSuffix(domain, ".")+".")
	}
	if strings.Count(host, ".") >= r.dots {
		return append([]string{host + "."}, found...)
	}
	return append(found, host+".")
}

// The types of resource records that hold addresses (RFC 1035, RFC 3596).
const (
	typeA    = 1
	typeAAAA = 28
	classIN  = 1
)

// ask asks for IPv4 addresses, and where there is none for others.
func (r resolver) ask(name string, deadline time.Time) (found []netip.Addr, err error) {
	for _, kind := range []uint16{typeA, typeAAAA} {
		for attempt := 0; attempt < r.attempts*len(r.servers); attempt++ {
			end := time.Now().Add(r.timeout)
			if deadline.Before(end) {
				end = deadline
			}
			if found, err = query(r.servers[attempt%len(r.servers)], name, kind, end); err == nil || err == errNoHost {
				break
			}
			if !time.Now().Before(deadline) {
				return nil, err
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, err
}

// query asks one server once. errNoHost: it says that there is no such name.
func query(server netip.AddrPort, name string, kind uint16, deadline time.Time) ([]netip.Addr, error) {
	id := uint16(random())
	message, err := question(id, name, kind)
	if err != nil {
		return nil, err
	}
	socket, err := connect(syscall.SOCK_DGRAM, server, deadline)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	socket.SetDeadline(deadline)
	if _, err = socket.Write(message); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4096)
	for {
		size, err := socket.Read(buffer)
		if err != nil {
			if os.IsTimeout(err) {
				return nil, errNoAnswer
			}
			return nil, err
		}
		if size >= len(message) && binary.BigEndian.Uint16(buffer) == id && buffer[2]&0x80 != 0 {
			return addresses(buffer[:size], len(message), kind)
		}
	}
}

// question is a message that asks for the records of one name and one type.
func question(id uint16, name string, kind uint16) ([]byte, error) {
	const recursion = 0x0100
	message := binary.BigEndian.AppendUint16(nil, id)
	for _, word := range []uint16{recursion, 1, 0, 0, 0} {
		message = binary.BigEndian.AppendUint16(message, word)
	}
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, errNoHost
		}
		message = append(append(message, byte(len(label))), label...)
	}
	message = binary.BigEndian.AppendUint16(append(message, 0), kind)
	return binary.BigEndian.AppendUint16(message, classIN), nil
}

// addresses reads the records of a type behind the question, which ends at `at`.
func addresses(message []byte, at int, kind uint16) (found []netip.Addr, err error) {
	const nameError = 3
	switch message[3] & 0x0f {
	case 0:
	case nameError:
		return nil, errNoHost
	default:
		return nil, errNoAnswer
	}
	for count := binary.BigEndian.Uint16(message[6:]); count > 0; count-- {
		for at < len(message) && message[at] != 0 && message[at] < 0xc0 { // labels; a pointer ends the name
			at += 1 + int(message[at])
		}
		if at < len(message) && message[at] >= 0xc0 {
			at++
		}
		at++
		if at+10 > len(message) {
			return found, nil // cut off
		}
		length := int(binary.BigEndian.Uint16(message[at+8:]))
		begin := at + 10
		if begin+length > len(message) {
			return found, nil
		}
		if binary.BigEndian.Uint16(message[at:]) == kind && binary.BigEndian.Uint16(message[at+2:]) == classIN {
			if address, ok := netip.AddrFromSlice(message[begin : begin+length]); ok {
				found = append(found, address)
			}
		}
		at = begin + length
	}
	return found, nil
}
