// Shop is a small service to watch: products, stock, orders. It does what services do: it waits, calls another
// service, fails now and then. It holds nothing that knows of gotap or of OpenTelemetry.
//
//	shop [-listen ADDRESS] [-ready FILE]     serves until SIGINT or SIGTERM
//	shop load -ready FILE [-for D] [-rate N] sends requests to a service that is starting or has started
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmsgprefix)
	log.SetPrefix("shop: ")
	run, args := serve, os.Args[1:]
	if len(args) > 0 && args[0] == "load" {
		run, args = load, args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, args); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("shop", flag.ExitOnError)
	address := flags.String("listen", "127.0.0.1:0", "address to serve on; port 0 takes a free one")
	ready := flags.String("ready", "", "file to write the address to once requests are taken")
	flags.Parse(args)

	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:  newShop("http://" + listener.Addr().String()).routes(),
		ErrorLog: log.New(firstLine{os.Stderr}, log.Prefix(), log.Flags()),
	}
	// Leaves connections that wait for their next request a moment, then closes them.
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	log.Printf("serving on http://%s", listener.Addr())
	if *ready != "" {
		if err := announce(*ready, listener.Addr().String()); err != nil {
			return err
		}
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// firstLine keeps the first line of each message: of a panic the reason, without the stack.
type firstLine struct{ io.Writer }

func (w firstLine) Write(message []byte) (int, error) {
	line, _, _ := bytes.Cut(message, []byte("\n"))
	_, err := w.Writer.Write(append(line, '\n'))
	return len(message), err
}

// announce makes the file appear with its whole content.
func announce(file, address string) error {
	if err := os.WriteFile(file+".part", []byte(address), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}
