// kernelguest is the only process of a virtual machine: it does with that machine's kernel what plan.json says, and
// prints one JSON object a line. scripts/kernels.py writes the plan, which holds BPF programs as gotap generates them;
// where they are attached, it is to this very program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

type Map struct {
	Type, Key, Value, Entries, Flags uint32
}

// Instructions of a program name maps by their number in the plan, where the kernel wants descriptors.
type Program struct {
	Name       string
	Type       uint32
	Attach     uint32
	Code       []byte
	References []int // indices of the instructions that name a map
	Btf        []byte
	Functions  []byte // func_info
	Run        bool   // once, by BPF_PROG_TEST_RUN
	Sites      [][2]uint64
}

// Case is a set of maps and programs that belong together; Read are maps whose content is printed at its end.
type Case struct {
	Name     string
	Maps     []Map
	Programs []Program
	Fill     [][3]int // map, index, program: of program arrays
	Calls    int
	Read     []int
}

type Answer struct {
	Case     string
	Program  string `json:",omitempty"`
	Error    string `json:",omitempty"`
	Log      string `json:",omitempty"`
	Map      int
	Entries  [][2][]byte `json:",omitempty"`
	Finished bool        `json:",omitempty"`
}

func say(answer Answer) {
	text, _ := json.Marshal(answer)
	os.Stdout.Write(append([]byte("@"), append(text, '\n')...))
}

func main() {
	for _, place := range []string{"proc", "sys"} {
		os.Mkdir("/"+place, 0o755)
		kind := map[string]string{"proc": "proc", "sys": "sysfs"}[place]
		syscall.Mount("none", "/"+place, kind, 0, "")
	}
	syscall.Setrlimit(8, &syscall.Rlimit{Cur: 1 << 62, Max: 1 << 62}) // RLIMIT_MEMLOCK
	var plan []Case
	file, err := os.Open("/plan.json")
	if err == nil {
		err = json.NewDecoder(bufio.NewReader(file)).Decode(&plan)
	}
	if err != nil {
		say(Answer{Error: err.Error()})
	}
	for _, one := range plan {
		one.run()
	}
	say(Answer{Finished: true})
	syscall.Sync()
	if os.Getpid() == 1 {
		syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}
}

func (c *Case) run() {
	var maps, programs, links []int
	defer func() {
		for _, fd := range append(append(links, programs...), maps...) {
			if fd >= 0 {
				syscall.Close(fd)
			}
		}
	}()
	for number, one := range c.Maps {
		fd, err := one.create()
		if err != nil {
			say(Answer{Case: c.Name, Error: fmt.Sprintf("map %d: %v", number, err)})
			return
		}
		maps = append(maps, fd)
	}
	for _, one := range c.Programs {
		fd, log, err := one.load(maps)
		if err != nil {
			say(Answer{Case: c.Name, Program: one.Name, Error: err.Error(), Log: log})
		} else {
			say(Answer{Case: c.Name, Program: one.Name})
		}
		programs = append(programs, fd)
	}
	for _, one := range c.Fill {
		if programs[one[2]] >= 0 {
			if err := update(maps[one[0]], uint32(one[1]), uint32(programs[one[2]])); err != nil {
				say(Answer{Case: c.Name, Error: fmt.Sprintf("program array: %v", err)})
			}
		}
	}
	for number, one := range c.Programs {
		if programs[number] < 0 {
			continue
		}
		made, err := one.start(programs[number])
		links = append(links, made...)
		if err != nil {
			say(Answer{Case: c.Name, Program: one.Name, Error: err.Error()})
		}
	}
	if c.Calls > 0 {
		exercise(c.Calls)
	}
	for _, number := range c.Read {
		say(Answer{Case: c.Name, Map: number, Entries: c.Maps[number].entries(maps[number])})
	}
}

// cpus is how many values a per-CPU map has for each key.
func cpus() int {
	text, _ := os.ReadFile("/sys/devices/system/cpu/possible")
	parts := strings.FieldsFunc(strings.TrimSpace(string(text)), func(r rune) bool { return r == '-' || r == ',' })
	last, _ := strconv.Atoi(parts[len(parts)-1])
	return last + 1
}
