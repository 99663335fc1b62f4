// reexec serves HTTP on a port of its own choice, prints the address, and executes itself anew at SIGUSR1.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		<-signals
		panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}()
	fmt.Println(listener.Addr())
	panic(http.Serve(listener, nil))
}
