// A program with a dependency that lies in its vendor directory.
package main

import "example.com/greet"

func main() { println(greet.Text()) }
