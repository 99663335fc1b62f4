//go:build !linux

package gotaprt

import (
	"net"
	"time"
)

func dial(host, port string, deadline time.Time) (stream, error) {
	dialer := net.Dialer{Deadline: deadline}
	return dialer.Dial("tcp", net.JoinHostPort(host, port))
}
