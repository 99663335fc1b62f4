// A program that makes spans as woven code would, and ends in the way that its first argument names.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"gotaprt"
)

func main() {
	switch os.Args[1] {
	case "kinds":
		kinds()
	case "many":
		many()
	case "burst":
		burst()
	case "hidden":
		hidden()
	case "return":
		spans(3)
	case "exit":
		spans(3)
		os.Exit(3)
	case "two exits":
		spans(3)
		go os.Exit(0)
		go os.Exit(0)
		os.Exit(0)
	case "deadlock":
		gotaprt.Flush(0)
		select {}
	case "signals":
		signals()
	}
}

func spans(count int) {
	for i := 0; i < count; i++ {
		_, s := gotaprt.Begin(nil, "span "+strconv.Itoa(i))
		s.End()
	}
}

// kinds makes one span of each sort and prints the ids of the first.
func kinds() {
	ctx, server := gotaprt.BeginRemote(context.Background(), gotaprt.Server, "server",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1", "text", "ä")
	server.SetInt("int", -5)
	server.SetFloat("float", 0.25)
	server.SetBool("true", true)
	server.SetBool("false", false)
	server.SetString("replaced", "old")
	server.SetString("replaced", "new")
	server.SetString("not utf-8", "a\xffb")
	server.SetString("long", strings.Repeat("x", 300))
	fmt.Println(server.IDs())
	_, client := gotaprt.BeginKind(ctx, gotaprt.Client, "client")
	client.SetName("renamed")
	client.EndWith(errors.New("three"))
	_, internal := gotaprt.Begin(ctx, "internal")
	internal.Recovered("secret")
	internal.End()
	server.End()
	gotaprt.Flush(1 << 40)
}

// many makes as many spans as each line of standard input says, and waits for them to be sent.
func many() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		count, _ := strconv.Atoi(lines.Text())
		spans(count)
		fmt.Println(gotaprt.Flush(1 << 34))
	}
}

// burst makes spans and waits for nothing but the end of standard input.
func burst() {
	count, _ := strconv.Atoi(os.Args[2])
	spans(count)
	fmt.Println("made")
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// hidden shows that the runtime's own goroutine is not the program's.
func hidden() {
	if len(os.Args) > 2 {
		spans(1)
		gotaprt.Flush(1 << 40)
	}
	stacks := make([]byte, 1<<16)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Println(runtime.NumGoroutine(), strings.Contains(string(stacks), "gotap_export"))
}

// signals gets ready for signals in the ways named, tells so, and waits for the one that the program handles.
func signals() {
	received := make(chan os.Signal, 1)
	for _, way := range os.Args[2:] {
		switch way {
		case "notify":
			signal.Notify(received, syscall.SIGTERM, syscall.SIGINT)
		case "ignore":
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		case "stop":
			signal.Stop(received)
		case "reset":
			signal.Reset(syscall.SIGTERM)
		case "spans":
			spans(3)
			gotaprt.Flush(1 << 40) // from here on the runtime's goroutine has seen spans
			spans(3)
		case "span":
			spans(1)
		}
	}
	fmt.Println("ready")
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Println("end of input")
		os.Exit(4)
	}()
	fmt.Println("handled", <-received)
}
