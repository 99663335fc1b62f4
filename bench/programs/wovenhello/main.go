// Wovenhello is the smallest program with a span: what weaving adds to one that links next to nothing.
package main

func main() { greet() }

//gotap:span
func greet() { println("hello") }
