// Command bench is the benchmark's pair on the Go implementation of ttrpc, as its users
// write against it. Its messages are well-known types of the same shape as bench.proto's.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "bench.v1.Bench"

func main() {
	if len(os.Args) < 2 {
		fatal("expected `server` or `client`")
	}
	arguments := parse(os.Args[2:])
	switch os.Args[1] {
	case "server":
		serve(arguments.socket)
	case "client":
		call(arguments)
	default:
		fatal("expected `server` or `client`")
	}
}

// arguments are the same as those of the pairs in Rust.
type arguments struct {
	socket, mode, maxStreams string
	conns, inflight, size    int
	messages, calls, idle    int
	seconds, warmup          float64
	serverPid, idleStreams   int
}

func parse(from []string) arguments {
	var a arguments
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&a.socket, "socket", "", "")
	flags.StringVar(&a.mode, "mode", "unary", "")
	flags.StringVar(&a.maxStreams, "max-streams", "", "")
	flags.IntVar(&a.conns, "conns", 1, "")
	flags.IntVar(&a.inflight, "inflight", 1, "")
	flags.IntVar(&a.size, "size", 64, "")
	flags.IntVar(&a.messages, "messages", 0, "")
	flags.IntVar(&a.calls, "calls", 0, "")
	flags.IntVar(&a.idle, "idle-conns", 0, "")
	flags.IntVar(&a.idleStreams, "idle-streams", 0, "")
	flags.IntVar(&a.serverPid, "server-pid", 0, "")
	flags.Float64Var(&a.seconds, "seconds", 1, "")
	flags.Float64Var(&a.warmup, "warmup", 0.2, "")
	if err := flags.Parse(from); err != nil {
		fatal(err)
	}
	if a.messages == 0 {
		a.messages = min(max((64<<20)/max(a.size, 1), 100), 20_000)
	}
	return a
}

func fatal(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}

// must is for what has no reason to fail.
func must[T any](value T, err error) T {
	if err != nil {
		fatal(err)
	}
	return value
}

func serve(socket string) {
	server := must(ttrpc.NewServer())
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Unary": unary},
		Streams: map[string]ttrpc.Stream{
			"ServerStream": {Handler: serverStream, StreamingServer: true},
			"ClientStream": {Handler: clientStream, StreamingClient: true},
			"Bidi":         {Handler: bidi, StreamingClient: true, StreamingServer: true},
		},
	})
	listener := must(net.Listen("unix", socket))
	fmt.Println("ready")
	fatal(server.Serve(context.Background(), listener))
}

func unary(_ context.Context, decode func(any) error) (any, error) {
	request := new(wrapperspb.BytesValue)
	return request, decode(request)
}

func serverStream(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	amount := new(durationpb.Duration)
	if err := stream.RecvMsg(amount); err != nil {
		return nil, err
	}
	reply := wrapperspb.Bytes(make([]byte, amount.Nanos))
	for range amount.Seconds {
		if err := stream.SendMsg(reply); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func clientStream(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	amount := new(durationpb.Duration)
	for {
		err := stream.RecvMsg(new(wrapperspb.BytesValue))
		if errors.Is(err, io.EOF) {
			return amount, nil
		}
		if err != nil {
			return nil, err
		}
		amount.Seconds++
	}
}

func bidi(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	for {
		message := new(wrapperspb.BytesValue)
		err := stream.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(message); err != nil {
			return nil, err
		}
	}
}

// hold keeps the process until its input ends.
func hold() {
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString(0)
}
