package gotaprt

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// instances is the namespace that OpenTelemetry gives for service.instance.id (docs/registry/attributes/service.md).
const instances = "\x4d\x63\x00\x9a\x8d\x0f\x11\xee\xaa\xd7\x4c\x79\x6e\xd8\xe3\x20"

// architectures are Go's names by those of host.arch, where they differ.
var architectures = map[string]string{"arm": "arm32", "386": "x86", "ppc": "ppc32"}

// resource tells who makes the signals: the keys and values that gotap finds for a process that it watches from outside
// (gotap.signals.resource), so that both are the same service and the same instance. What the user says wins.
func resource() []attribute {
	var found record
	text := func(key, value string) {
		if value != "" {
			found.set(attribute{key: key, text: value, kind: textKind})
		}
	}
	number := func(key string, value int) {
		found.set(attribute{key: key, number: uint64(value), kind: intKind})
	}
	path, _ := os.Executable()
	name := path[strings.LastIndexAny(path, `/\`)+1:]
	if name == "" {
		text("service.name", "unknown_service:go")
	}
	text("service.name", name)
	started := startTicks()
	text("service.instance.id", instanceID(content("/proc/sys/kernel/random/boot_id"), started))
	number("process.pid", os.Getpid())
	number("process.parent_pid", os.Getppid())
	text("process.creation.time", creationTime(started))
	text("process.executable.name", name)
	text("process.executable.path", path)
	if len(os.Args) > 0 {
		text("process.command", os.Args[0])
		number("process.args_count", len(os.Args))
	}
	text("process.owner", owner(os.Geteuid()))
	text("process.runtime.name", "go")
	text("process.runtime.version", runtime.Version())
	text("process.runtime.description", "go version "+runtime.Version())
	text("container.id", containerID(content("/proc/self/cgroup")))
	host, _ := os.Hostname()
	text("host.name", host)
	text("host.id", content("/etc/machine-id"))
	arch := runtime.GOARCH
	if other, ok := architectures[arch]; ok {
		arch = other
	}
	text("host.arch", arch)
	text("os.type", runtime.GOOS)
	release := osRelease()
	text("os.description", release["PRETTY_NAME"])
	text("os.version", release["VERSION_ID"])
	text("telemetry.sdk.language", "go")
	text("telemetry.sdk.name", "gotap")
	text("telemetry.sdk.version", Version)
	text("telemetry.distro.name", "gotap")
	text("telemetry.distro.version", Version)
	said, err := pairs(variable("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		tell(warn, "OTEL_RESOURCE_ATTRIBUTES is ignored: "+err.Error())
	}
	for _, pair := range said {
		text(pair[0], pair[1])
	}
	text("service.name", variable("OTEL_SERVICE_NAME"))
	return found.attributes
}

// content is a file's text without blanks around it; empty if it cannot be read.
func content(path string) string {
	text, _ := os.ReadFile(path)
	return string(bytes.TrimSpace(text))
}

// startTicks is when the process started, in clock ticks since boot, as in /proc/PID/stat; empty where there is none.
// The command's name, in parentheses, may hold anything.
func startTicks() string {
	stat := content("/proc/self/stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// instanceID is the same for each process and boot: a UUID of version 5 (RFC 9562, section 5.5) in the namespace of
// OpenTelemetry.
func instanceID(boot, started string) string {
	if boot == "" || started == "" {
		return ""
	}
	digest := sha1(instances + boot + "/" + strconv.Itoa(os.Getpid()) + "/" + started)
	digest[6] = digest[6]&0x0f | 0x50
	digest[8] = digest[8]&0x3f | 0x80
	text := hexadecimal(digest[:16])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// creationTime is ISO 8601 in UTC, exact to the clock tick.
func creationTime(started string) string {
	ticks, err := strconv.ParseInt(started, 10, 64)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(content("/proc/stat"), "\n") {
		if value, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return ""
			}
			when := time.Unix(boot, ticks*int64(time.Second)/ticksPerSecond()).UTC()
			return when.Format("2006-01-02T15:04:05.000Z")
		}
	}
	return ""
}

// ticksPerSecond reads AT_CLKTCK from the auxiliary vector of a 64-bit process; everywhere that matters it is 100.
func ticksPerSecond() int64 {
	const clockTicks = 17 // linux/auxvec.h
	vector, _ := os.ReadFile("/proc/self/auxv")
	for ; len(vector) >= 16; vector = vector[16:] {
		if value := int64(binary.LittleEndian.Uint64(vector[8:])); binary.LittleEndian.Uint64(vector) == clockTicks && value > 0 {
			return value
		}
	}
	return 100
}

// owner is the name of a user id as /etc/passwd has it, else the number; empty where there are no such ids.
func owner(uid int) string {
	if uid < 0 {
		return ""
	}
	number := strconv.Itoa(uid)
	for _, line := range strings.Split(content("/etc/passwd"), "\n") {
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == number {
			return fields[0]
		}
	}
	return number
}

// osRelease reads os-release(5).
func osRelease() map[string]string {
	text := content("/etc/os-release")
	if text == "" {
		text = content("/usr/lib/os-release")
	}
	found := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			found[key] = strings.Trim(value, `"'`)
		}
	}
	return found
}

// containerID finds the container that a cgroup file names, innermost first (see gotap.process.stat.container_id, which
// reads the same file from outside).
func containerID(cgroups string) string {
	for _, line := range strings.Split(cgroups, "\n") {
		parts := strings.SplitN(line, ":", 3)
		elements := strings.Split(parts[len(parts)-1], "/")
		for i := len(elements) - 1; i >= 0; i-- {
			element := elements[i]
			if id := containerElement(element[strings.LastIndexByte(element, ':')+1:]); id != "" {
				return id
			}
		}
	}
	return ""
}

// containerElement reads `RUNTIME-ID.scope`, where runtime and scope may be missing: 64 hexadecimal digits, or a task's
// 32 and a number, as ECS on Fargate has them.
func containerElement(element string) string {
	element = strings.TrimSuffix(element, ".scope")
	id := element[strings.LastIndexByte(element, '-')+1:]
	if len(id) == 64 && isHex(id) {
		return id
	}
	task := element[:len(element)-len(id)]
	if len(task) >= 33 && id != "" && strings.Trim(id, "0123456789") == "" {
		task = task[len(task)-33 : len(task)-1]
		before := element[:len(element)-len(id)-33]
		if isHex(task) && (before == "" || before[len(before)-1] == '-') {
			return task + "-" + id
		}
	}
	return ""
}

func isHex(text string) bool { return strings.Trim(text, digits) == "" }
