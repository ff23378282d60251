package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var streams = map[string]ttrpc.Stream{
	"Sum": clientStream(func(_ context.Context, stream ttrpc.StreamServer) (proto.Message, error) {
		sum := new(wrapperspb.Int64Value)
		return sum, receive(stream, func(message *wrapperspb.BytesValue) error {
			sum.Value += int64(len(message.Value))
			return nil
		})
	}),
	"Count": clientStream(func(_ context.Context, stream ttrpc.StreamServer) (proto.Message, error) {
		count := new(wrapperspb.Int64Value)
		return count, receive(stream, func(*emptypb.Empty) error {
			count.Value++
			return nil
		})
	}),
	"First": clientStream(func(_ context.Context, stream ttrpc.StreamServer) (proto.Message, error) {
		first := new(wrapperspb.BytesValue)
		return first, stream.RecvMsg(first)
	}),
	"Parts": serverStream(func(_ context.Context, sizes *wrapperspb.StringValue, stream ttrpc.StreamServer) error {
		for _, text := range strings.Fields(sizes.Value) {
			size, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			if err := stream.SendMsg(wrapperspb.Bytes(make([]byte, size))); err != nil {
				return err
			}
		}
		return nil
	}),
	"Numbers": serverStream(func(_ context.Context, end *wrapperspb.Int64Value, stream ttrpc.StreamServer) error {
		return numbers(stream, end.Value)
	}),
	"Nothing": serverStream(func(_ context.Context, nothing *emptypb.Empty, stream ttrpc.StreamServer) error {
		return sendTimes(stream, 3, nothing)
	}),
	"FailLate": serverStream(func(_ context.Context, end *wrapperspb.Int64Value, stream ttrpc.StreamServer) error {
		if err := numbers(stream, end.Value); err != nil {
			return err
		}
		return failure()
	}),
	"StreamMetadata": serverStream(func(ctx context.Context, key *wrapperspb.StringValue, stream ttrpc.StreamServer) error {
		for _, value := range values(ctx, key.Value) {
			if err := stream.SendMsg(wrapperspb.String(value)); err != nil {
				return err
			}
		}
		return nil
	}),
	"StreamTimeLeft": serverStream(func(ctx context.Context, _ *wrapperspb.StringValue, stream ttrpc.StreamServer) error {
		return stream.SendMsg(timeLeft(ctx))
	}),
	"HoldOpen": serverStream(func(ctx context.Context, text *wrapperspb.StringValue, stream ttrpc.StreamServer) error {
		if err := stream.SendMsg(text); err != nil {
			return err
		}
		if err := hold(ctx); err != nil {
			return err
		}
		return sendTimes(stream, 2, text)
	}),
	// The name that Go's generator registers, and that its clients call.
	"SnakeCaseStream": serverStream(func(_ context.Context, text *wrapperspb.StringValue, stream ttrpc.StreamServer) error {
		return stream.SendMsg(text)
	}),
	"Chat": bidiStream(func(_ context.Context, stream ttrpc.StreamServer) error {
		return receive(stream, func(message *wrapperspb.BytesValue) error {
			return stream.SendMsg(message)
		})
	}),
	"ChatOnce": bidiStream(func(_ context.Context, stream ttrpc.StreamServer) error {
		return once(stream)
	}),
	"ChatHold": bidiStream(func(ctx context.Context, stream ttrpc.StreamServer) error {
		if err := once(stream); err != nil {
			return err
		}
		return hold(ctx)
	}),
}

func numbers(stream ttrpc.StreamServer, end int64) error {
	for number := int64(0); number < end; number++ {
		if err := stream.SendMsg(wrapperspb.Int64(number)); err != nil {
			return err
		}
	}
	return nil
}

func sendTimes(stream ttrpc.StreamServer, times int, message proto.Message) error {
	for ; times > 0; times-- {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	return nil
}

func once(stream ttrpc.StreamServer) error {
	return receive(stream, func(message *wrapperspb.BytesValue) error {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
		return errEnd
	})
}

// The following are what Go's generator writes around methods.

func clientStream(method func(context.Context, ttrpc.StreamServer) (proto.Message, error)) ttrpc.Stream {
	return ttrpc.Stream{
		StreamingClient: true,
		Handler: func(ctx context.Context, stream ttrpc.StreamServer) (interface{}, error) {
			return method(ctx, stream)
		},
	}
}

func serverStream[T any, M message[T]](method func(context.Context, M, ttrpc.StreamServer) error) ttrpc.Stream {
	return ttrpc.Stream{
		StreamingServer: true,
		Handler: func(ctx context.Context, stream ttrpc.StreamServer) (interface{}, error) {
			request := M(new(T))
			if err := stream.RecvMsg(request); err != nil {
				return nil, err
			}
			return nil, method(ctx, request, stream)
		},
	}
}

func bidiStream(method func(context.Context, ttrpc.StreamServer) error) ttrpc.Stream {
	return ttrpc.Stream{
		StreamingClient: true,
		StreamingServer: true,
		Handler: func(ctx context.Context, stream ttrpc.StreamServer) (interface{}, error) {
			return nil, method(ctx, stream)
		},
	}
}
