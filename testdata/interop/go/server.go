package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What the console asks about.
var (
	released = make(chan struct{})
	events   = struct {
		sync.Mutex
		count map[string]int
	}{count: make(map[string]int)}
)

func event(name string) {
	events.Lock()
	defer events.Unlock()
	events.count[name]++
}

// serve serves until the console says `shutdown` or ends.
func serve(socket string) {
	server, err := ttrpc.NewServer()
	if err != nil {
		fatal(err)
	}
	server.RegisterService(service, &ttrpc.ServiceDesc{Methods: methods, Streams: streams})
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fatal(err)
	}
	go func() {
		if err := server.Serve(context.Background(), listener); !errors.Is(err, ttrpc.ErrServerClosed) {
			fatal(err)
		}
	}()
	fmt.Println("ready")

	console := bufio.NewScanner(os.Stdin)
	for console.Scan() {
		command, what, _ := strings.Cut(console.Text(), " ")
		switch command {
		case "count":
			events.Lock()
			fmt.Println(events.count[what])
			events.Unlock()
		case "release":
			// Before the last handler goes on, with which a server may end.
			fmt.Println("ok")
			close(released)
		case "shutdown":
			go func() {
				if err := server.Shutdown(context.Background()); err != nil {
					fatal(err)
				}
				os.Exit(0)
			}()
			fmt.Println("ok")
		default:
			fatal("expected `count EVENT`, `release` or `shutdown`, not", command)
		}
	}
}

// hold waits until the console says `release`, and counts what happens.
func hold(ctx context.Context) error {
	event("started")
	select {
	case <-released:
		event("finished")
		return nil
	case <-ctx.Done():
		event("cancelled")
		return ctx.Err()
	}
}

var methods = map[string]ttrpc.Method{
	"Echo": unary(func(_ context.Context, request *wrapperspb.BytesValue) (proto.Message, error) {
		return request, nil
	}),
	"Fill": unary(func(_ context.Context, size *wrapperspb.Int64Value) (proto.Message, error) {
		return wrapperspb.Bytes(make([]byte, size.Value)), nil
	}),
	"Fail": unary(func(context.Context, *emptypb.Empty) (proto.Message, error) {
		return nil, failure()
	}),
	"Metadata": unary(func(ctx context.Context, key *wrapperspb.StringValue) (proto.Message, error) {
		return wrapperspb.String(strings.Join(values(ctx, key.Value), ",")), nil
	}),
	"TimeLeft": unary(func(ctx context.Context, _ *emptypb.Empty) (proto.Message, error) {
		return timeLeft(ctx), nil
	}),
	"Hold": unary(func(ctx context.Context, text *wrapperspb.StringValue) (proto.Message, error) {
		return text, hold(ctx)
	}),
	// The name that Go's generator registers.
	"SnakeCase": unary(func(_ context.Context, text *wrapperspb.StringValue) (proto.Message, error) {
		return text, nil
	}),
}

// unary is what Go's generator writes around a method.
func unary[T any, M message[T]](method func(context.Context, M) (proto.Message, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
		request := M(new(T))
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		return method(ctx, request)
	}
}

type message[T any] interface {
	*T
	proto.Message
}

func failure() error {
	failed, err := status.New(codes.FailedPrecondition, "příliš žluťoučký kůň 🐎").
		WithDetails(wrapperspb.String("detail"), wrapperspb.Int64(7))
	if err != nil {
		return err
	}
	return failed.Err()
}

func values(ctx context.Context, key string) []string {
	metadata, _ := ttrpc.GetMetadata(ctx)
	values, _ := metadata.Get(key)
	return values
}

func timeLeft(ctx context.Context) *wrapperspb.Int64Value {
	deadline, ok := ctx.Deadline()
	if !ok {
		return wrapperspb.Int64(0)
	}
	return wrapperspb.Int64(time.Until(deadline).Nanoseconds())
}

var errEnd = errors.New("the end")

// receive calls f with each message until the client closes the stream, or until f says
// errEnd.
func receive[T any, M message[T]](stream ttrpc.StreamServer, f func(M) error) error {
	for {
		received := M(new(T))
		err := stream.RecvMsg(received)
		if err == nil {
			err = f(received)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
