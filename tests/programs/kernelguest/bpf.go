package main

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Commands of bpf(2), map types and the like: include/uapi/linux/bpf.h.
const (
	sysBpf, sysPerfEventOpen                                       = 321, 298
	mapCreate, mapLookup, mapUpdate, mapNextKey, progLoad, progRun = 0, 1, 2, 4, 5, 10
	btfLoad, linkCreate                                            = 18, 28
	percpuHash, percpuArray                                        = 5, 6
	attachPerfEvent, attachUprobeMulti                             = 41, 48
	sizeOfAttr                                                     = 144
)

type attr [sizeOfAttr]byte

func (a *attr) u32(at int, value uint32)  { binary.LittleEndian.PutUint32(a[at:], value) }
func (a *attr) u64(at int, value uint64)  { binary.LittleEndian.PutUint64(a[at:], value) }
func (a *attr) bytes(at int, data []byte) { a.u64(at, address(data)) }
func address(data []byte) uint64 {
	if len(data) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(&data[0])))
}

func bpf(command uintptr, a *attr) (int, error) {
	fd, _, number := syscall.Syscall(sysBpf, command, uintptr(unsafe.Pointer(a)), sizeOfAttr)
	if number != 0 {
		return -1, number
	}
	return int(fd), nil
}

func (m *Map) create() (int, error) {
	var a attr
	for at, value := range []uint32{m.Type, m.Key, m.Value, m.Entries, m.Flags} {
		a.u32(4*at, value)
	}
	return bpf(mapCreate, &a)
}

func update(fd int, key, value uint32) error {
	var a attr
	keys, values := make([]byte, 4), make([]byte, 4)
	binary.LittleEndian.PutUint32(keys, key)
	binary.LittleEndian.PutUint32(values, value)
	a.u32(0, uint32(fd))
	a.bytes(8, keys)
	a.bytes(16, values)
	_, err := bpf(mapUpdate, &a)
	return err
}

// entries are all keys and values; of a per-CPU map a value is those of all CPUs, each in multiples of 8 bytes.
func (m *Map) entries(fd int) (found [][2][]byte) {
	size := int(m.Value)
	if m.Type == percpuHash || m.Type == percpuArray {
		size = (size + 7) / 8 * 8 * cpus()
	}
	var key []byte
	for {
		var next, look attr
		following, value := make([]byte, m.Key), make([]byte, size)
		next.u32(0, uint32(fd))
		next.bytes(8, key)
		next.bytes(16, following)
		if _, err := bpf(mapNextKey, &next); err != nil {
			return found
		}
		look.u32(0, uint32(fd))
		look.bytes(8, following)
		look.bytes(16, value)
		if _, err := bpf(mapLookup, &look); err == nil {
			found = append(found, [2][]byte{following, value})
		}
		key = following
	}
}

// load returns the verifier's log when it fails.
func (p *Program) load(maps []int) (int, string, error) {
	code := append([]byte(nil), p.Code...)
	for _, at := range p.References {
		immediate := code[8*at+4:]
		binary.LittleEndian.PutUint32(immediate, uint32(maps[binary.LittleEndian.Uint32(immediate)]))
	}
	license := []byte("GPL\x00")
	var a attr
	a.u32(0, p.Type)
	a.u32(4, uint32(len(code)/8))
	a.bytes(8, code)
	a.bytes(16, license)
	a.u32(68, p.Attach)
	if len(p.Btf) > 0 {
		var b attr
		b.bytes(0, p.Btf)
		b.u32(16, uint32(len(p.Btf)))
		fd, err := bpf(btfLoad, &b)
		if err != nil {
			return -1, "", err
		}
		defer syscall.Close(fd)
		a.u32(72, uint32(fd))
		a.u32(76, 8)
		a.bytes(80, p.Functions)
		a.u32(88, uint32(len(p.Functions)/8))
	}
	fd, err := bpf(progLoad, &a)
	if err == nil {
		return fd, "", nil
	}
	log := make([]byte, 1<<23)
	a.u32(24, 1)
	a.u32(28, uint32(len(log)))
	a.bytes(32, log)
	bpf(progLoad, &a)
	text := strings.TrimRight(string(log), "\x00")
	if len(text) > 3000 {
		text = text[len(text)-3000:]
	}
	return -1, text, err
}

// start runs the program once, or attaches it to its sites in this very process.
func (p *Program) start(program int) (links []int, err error) {
	if p.Run {
		var a attr
		a.u32(0, uint32(program))
		_, err = bpf(progRun, &a)
		return nil, err
	}
	path := []byte("/proc/self/exe\x00")
	if p.Attach == attachUprobeMulti && len(p.Sites) > 0 {
		offsets, cookies := make([]byte, 8*len(p.Sites)), make([]byte, 8*len(p.Sites))
		for i, site := range p.Sites {
			binary.LittleEndian.PutUint64(offsets[8*i:], site[0])
			binary.LittleEndian.PutUint64(cookies[8*i:], site[1])
		}
		var a attr
		a.u32(0, uint32(program))
		a.u32(8, attachUprobeMulti)
		a.bytes(16, path)
		a.bytes(24, offsets)
		a.bytes(40, cookies)
		a.u32(48, uint32(len(p.Sites)))
		a.u32(56, uint32(os.Getpid()))
		link, err := bpf(linkCreate, &a)
		return []int{link}, err
	}
	text, _ := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	pmu, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	for _, site := range p.Sites {
		var a attr
		a.u32(0, uint32(pmu))
		a.u32(4, 112)
		a.bytes(56, path)
		a.u64(64, site[0])
		event, _, number := syscall.Syscall6(sysPerfEventOpen, uintptr(unsafe.Pointer(&a)), uintptr(os.Getpid()),
			^uintptr(0), ^uintptr(0), 8, 0)
		if number != 0 {
			return links, number
		}
		var l attr
		l.u32(0, uint32(program))
		l.u32(4, uint32(event))
		l.u32(8, attachPerfEvent)
		l.u64(16, site[1])
		link, err := bpf(linkCreate, &l)
		if err != nil {
			return append(links, int(event)), err
		}
		links = append(links, link, int(event))
	}
	return links, nil
}
