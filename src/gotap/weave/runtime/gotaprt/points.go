package gotaprt

import _ "unsafe" // go:linkname

// What a woven package os asks before it opens a file or starts a process; nil: everything goes ahead. An error is what the
// program gets instead.
//
//go:linkname openFile
var openFile func(name string, flag int) error

//go:linkname startProcess
var startProcess func(name string, argv []string) error

// Guard sets who is asked before a file is opened, with its name and flags (os.O_RDONLY …), and before a process is started,
// with the program's path and its arguments. It is called once, before other goroutines run: in an init function.
func Guard(open func(name string, flag int) error, start func(name string, argv []string) error) {
	openFile, startProcess = open, start
}
