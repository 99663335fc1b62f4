package gotaprt

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

var errPort = errors.New("the port is no number from 1 to 65535")

// dial connects to the first of the host's addresses that answers; each gets its share of the time that is left.
func dial(host, port string, deadline time.Time) (stream, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, errPort
	}
	addresses, err := resolve(host, deadline)
	for i, address := range addresses {
		share := time.Until(deadline) / time.Duration(len(addresses)-i)
		var file *os.File
		to := netip.AddrPortFrom(address, uint16(number))
		if file, err = connect(syscall.SOCK_STREAM, to, time.Now().Add(share)); err == nil {
			return file, nil
		}
	}
	return nil, err
}

// connect gives a socket that the runtime's poller waits for, as files do since Go 1.11 where they do not block.
func connect(kind int, to netip.AddrPort, deadline time.Time) (file *os.File, err error) {
	family, address := socketAddress(to)
	fd, err := syscall.Socket(family, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if kind == syscall.SOCK_STREAM {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	}
	// The poller gets to know the socket when it connects already: one that does not is ready for anything at once.
	err = syscall.Connect(fd, address)
	file = os.NewFile(uintptr(fd), "socket")
	if err == syscall.EINPROGRESS || err == syscall.EINTR {
		file.SetDeadline(deadline)
		err = connected(file)
	}
	if err != nil {
		file.Close()
		return nil, os.NewSyscallError("connect", err)
	}
	return file, nil
}

// connected waits until the socket is connected.
func connected(file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		number, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && number != 0 {
			err = syscall.Errno(number)
		}
		if err != nil {
			failed = err
			return true
		}
		_, err = syscall.Getpeername(int(fd))
		return err == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func socketAddress(to netip.AddrPort) (family int, address syscall.Sockaddr) {
	if ip := to.Addr().Unmap(); ip.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
	}
	zone, _ := strconv.ParseUint(to.Addr().Zone(), 10, 32)
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: uint32(zone)}
}
