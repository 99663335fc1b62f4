package gotaprt

import (
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// What every begin of an operation asks, as OTEL_* variables have it.
var (
	inert      bool // nothing is recorded, and nothing propagated
	roots      bool // some traces may begin here
	propagates bool
	sampling   sampler
	exports    bool // spans are sent; otherwise they only give lines of logs their ids
	counts     bool // durations are counted and sent
	exemplars  bool // with exemplars
)

func init() {
	configure()
	if exports {
		go run()
	}
	if counts {
		go runMetrics()
	}
}

// configure reads what is needed from the start on; the exporter reads the rest when there is something to export.
func configure() {
	inert = strings.EqualFold(variable("OTEL_SDK_DISABLED"), "true")
	sampling = samplerOf(variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"))
	roots = !inert && sampling.threshold > 0
	propagators := strings.Split(variable("OTEL_PROPAGATORS"), ",")
	propagates = len(propagators) == 1 && propagators[0] == ""
	for _, one := range propagators {
		propagates = propagates || strings.TrimSpace(one) == "tracecontext"
	}
	exports = !inert && variable("OTEL_TRACES_EXPORTER") != "none"
	counts = !inert && variable("OTEL_METRICS_EXPORTER") != "none"
	exemplars = !strings.EqualFold(variable("OTEL_METRICS_EXEMPLAR_FILTER"), "always_off")
	queue.limit = whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1)
	queue.batch = whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min64(512, queue.limit), 1)
	if queue.batch > queue.limit {
		tell(warn, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is more than OTEL_BSP_MAX_QUEUE_SIZE, which is taken instead")
		queue.batch = queue.limit
	}
}

// samplerOf gives the sampler of that name, and the default of the specification where it or its argument is nonsense.
func samplerOf(name, argument string) sampler {
	found, ok := samplers[strings.ToLower(name)]
	if !ok {
		if name != "" {
			tell(warn, "OTEL_TRACES_SAMPLER is ignored: there is no sampler "+strconv.Quote(name))
		}
		return samplers["parentbased_always_on"]
	}
	if !strings.HasSuffix(strings.ToLower(name), "traceidratio") || argument == "" {
		return found
	}
	ratio, err := strconv.ParseFloat(argument, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		tell(warn, "OTEL_TRACES_SAMPLER_ARG is ignored: it is to be a number from 0 to 1")
		return found
	}
	found.threshold = uint64(ratio * float64(always))
	return found
}

// variable gives the first of the variables that is set; an empty one is not.
func variable(names ...string) string {
	for _, name := range names {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return value
		}
	}
	return ""
}

// whole reads a whole number that is at least `least`.
func whole(name string, otherwise, least int64) int64 {
	value := variable(name)
	if value == "" {
		return otherwise
	}
	number, err := strconv.ParseInt(value, 10, 32)
	if err != nil || number < least {
		tell(warn, name+" is ignored: it is to be a whole number from "+strconv.FormatInt(least, 10)+" on")
		return otherwise
	}
	return number
}

// duration reads milliseconds; 0 stands for no limit where least is 0.
func duration(name string, otherwise time.Duration, least int64) time.Duration {
	return time.Duration(whole(name, int64(otherwise/time.Millisecond), least)) * time.Millisecond
}

func min64(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

var errPairs = errors.New("it is to be key1=value1,key2=value2, other characters percent-encoded")

// pairs reads key1=value1,key2=value2 with percent-encoding: keys and values in their order.
func pairs(text string) (found [][2]string, err error) {
	for _, item := range strings.Split(text, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		key, err = url.PathUnescape(strings.TrimSpace(key))
		if !ok || err != nil || key == "" {
			return nil, errPairs
		}
		if value, err = url.PathUnescape(strings.TrimSpace(value)); err != nil {
			return nil, errPairs
		}
		found = append(found, [2]string{key, value})
	}
	return found, nil
}

// temporality tells what histograms count from: the program's start, or the last time that they were sent.
func temporality() uint64 {
	switch asked := variable("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"); strings.ToLower(asked) {
	case "delta", "lowmemory":
		return deltaTemporality
	case "", "cumulative":
	default:
		tell(warn, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE is ignored: it is to be cumulative, delta or lowmemory")
	}
	return cumulativeTemporality
}

// indefinite is what a timeout of 0 stands for.
const indefinite = 24 * time.Hour

// exportSettings say where and how one signal is sent.
type exportSettings struct {
	url         *url.URL
	headers     [][2]string
	timeout     time.Duration
	gzip        bool
	authorities string // PEM files
	certificate string
	key         string
}

var errProtocol = errors.New("OTLP is sent over HTTP with protobuf only: set OTEL_EXPORTER_OTLP_PROTOCOL to " +
	"http/protobuf and the endpoint to the HTTP port, which collectors have at 4318")

// settingsOf reads OTEL_EXPORTER_OTLP_*, the signal's own variable first. signal is TRACES or METRICS.
func settingsOf(signal, path string) (exportSettings, error) {
	names := func(option string) []string {
		return []string{"OTEL_EXPORTER_OTLP_" + signal + "_" + option, "OTEL_EXPORTER_OTLP_" + option}
	}
	read := func(option string) string { return variable(names(option)...) }
	settings := exportSettings{
		authorities: read("CERTIFICATE"), certificate: read("CLIENT_CERTIFICATE"), key: read("CLIENT_KEY"),
	}
	if protocol := read("PROTOCOL"); protocol == "grpc" {
		return settings, errProtocol
	}
	switch compression := read("COMPRESSION"); strings.ToLower(compression) {
	case "gzip":
		settings.gzip = true
	case "", "none":
	default:
		tell(warn, "OTEL_EXPORTER_OTLP_COMPRESSION is ignored: it is to be gzip or none, and not "+strconv.Quote(compression))
	}
	timeout := names("TIMEOUT")
	if settings.timeout = duration(timeout[0], duration(timeout[1], 10*time.Second, 0), 0); settings.timeout == 0 {
		settings.timeout = indefinite
	}
	for _, name := range names("HEADERS") {
		if value := variable(name); value != "" {
			headers, err := headerPairs(value)
			if err == nil {
				settings.headers = headers
				break
			}
			tell(warn, name+" is ignored: "+err.Error())
		}
	}
	endpoints := names("ENDPOINT")
	if settings.url = endpoint(endpoints[0]); settings.url == nil {
		if settings.url = endpoint(endpoints[1]); settings.url == nil {
			settings.url = &url.URL{Scheme: "http", Host: "localhost:4318"}
		}
		settings.url.Path = strings.TrimRight(settings.url.Path, "/") + path
		settings.url.RawPath, settings.url.RawQuery = "", ""
	}
	return settings, nil
}

// endpoint reads a URL; nil where the variable has none.
func endpoint(name string) *url.URL {
	value := variable(name)
	if value == "" {
		return nil
	}
	found, err := url.Parse(value)
	if err != nil || found.Scheme != "http" && found.Scheme != "https" || found.Hostname() == "" {
		tell(warn, name+" is ignored: it is to be a URL with http or https and a host, like http://localhost:4318")
		return nil
	}
	return found
}

// headerPairs are pairs that can stand in an HTTP header, and that do not change how the message is framed.
func headerPairs(text string) ([][2]string, error) {
	found, err := pairs(text)
	if err != nil {
		return nil, err
	}
	for _, pair := range found {
		for _, one := range []byte(pair[0]) {
			if !('a' <= one|0x20 && one|0x20 <= 'z' || '0' <= one && one <= '9') &&
				strings.IndexByte("!#$%&'*+-.^_`|~", one) < 0 {
				return nil, errors.New("a name of a header holds a character that may not stand there")
			}
		}
		for _, one := range []byte(pair[1]) {
			if one < ' ' && one != '\t' || one == 0x7f {
				return nil, errors.New("a value of a header holds a character that may not stand there")
			}
		}
	}
	return found, nil
}
