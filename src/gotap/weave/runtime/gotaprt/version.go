package gotaprt

// Version is gotap's own (gotap.__version__).
const Version = "0.1.0"

// catalogue tells which catalogue the program was woven with (gotap.probe.edition). gotap writes it here when it makes
// the GOROOT that the program is built with.
const catalogue = ""

// marker is how `gotap inspect` knows a woven program, stripped or not (gotap.image.facts.woven): a text, and one variable
// that points at it, which copies of other programs among the data have not.
var marker = "\xffgotap woven\xff" + Version + "\xff" + catalogue + "\xff"

// The linker keeps what is used.
var _ = used(&marker)

//go:noinline
func used(*string) struct{} { return struct{}{} }
