// A Go library for programs in C.
package main

import "C"

import "os"

//export GoAnswer
func GoAnswer() C.int { return C.int(42 + len(os.Getenv("CSHARED_TEST"))) }

func main() {}
