package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A command or an event is a line, and this is the longest.
const maxLine = 64 << 20

type client struct {
	*ttrpc.Client
	output sync.Mutex
	// Those that are open, by their ids; only for the commands.
	calls map[string]*running
}

type running struct {
	cancel context.CancelFunc
	// What is to be sent; closed when that was all.
	requests chan proto.Message
}

// call connects to a server and does what its input says; ../src/puppet.rs has the
// commands and the events.
func call(socket string) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fatal(err)
	}
	c := &client{Client: ttrpc.NewClient(conn), calls: make(map[string]*running)}
	fmt.Println("ready")

	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, maxLine)
	for input.Scan() {
		words := strings.Split(input.Text(), " ")
		command, id, rest := words[0], words[1], words[2:]
		switch command {
		case "open":
			c.open(id, rest)
		case "send":
			c.calls[id].requests <- decode(rest[0])
		case "close":
			close(c.calls[id].requests)
		case "cancel":
			c.calls[id].cancel()
		default:
			fatal("unknown command", command)
		}
	}
	if err := input.Err(); err != nil {
		fatal(err)
	}
}

func (c *client) open(id string, words []string) {
	kind, service, method, timeout, metadata, payload := words[0], words[1], words[2], words[3], words[4], words[5]
	ctx, cancel := context.WithCancel(context.Background())
	if timeout != "-" {
		nanoseconds, err := strconv.ParseInt(timeout, 10, 64)
		if err != nil {
			fatal(err)
		}
		ctx, cancel = context.WithTimeout(ctx, time.Duration(nanoseconds))
	}
	if metadata != "-" {
		ctx = ttrpc.WithMetadata(ctx, pairs(metadata))
	}
	call := &running{cancel, make(chan proto.Message, 1<<16)}
	c.calls[id] = call

	if kind == "unary" {
		request := decode(payload)
		go func() {
			reply := new(emptypb.Empty)
			if err := c.Call(ctx, service, method, request, reply); err != nil {
				c.fail(id, err)
				return
			}
			c.message(id, reply)
			c.say("end", id)
		}()
		return
	}
	desc := &ttrpc.StreamDesc{StreamingClient: kind != "server", StreamingServer: kind != "client"}
	var request any
	if kind == "server" {
		request = decode(payload)
	}
	stream, err := c.NewStream(ctx, desc, service, method, request)
	if err != nil {
		c.fail(id, err)
		return
	}
	if desc.StreamingClient {
		go c.send(id, stream, call)
	}
	go c.receive(id, stream, desc.StreamingServer)
}

func (c *client) send(id string, stream ttrpc.ClientStream, call *running) {
	for request := range call.requests {
		if err := stream.SendMsg(request); err != nil {
			c.fail(id, err)
			call.cancel()
			return
		}
	}
	// The receiver learns of whatever goes wrong.
	_ = stream.CloseSend()
}

// receive stops at the first error: this client hangs if it is asked again.
func (c *client) receive(id string, stream ttrpc.ClientStream, streaming bool) {
	for {
		reply := new(emptypb.Empty)
		switch err := stream.RecvMsg(reply); {
		case err == nil:
			c.message(id, reply)
			if streaming {
				continue
			}
			c.say("end", id)
		case errors.Is(err, io.EOF):
			c.say("end", id)
		default:
			c.fail(id, err)
		}
		return
	}
}

func (c *client) say(words ...string) {
	c.output.Lock()
	defer c.output.Unlock()
	fmt.Println(strings.Join(words, " "))
}

func (c *client) message(id string, reply proto.Message) {
	payload, err := proto.Marshal(reply)
	if err != nil {
		fatal(err)
	}
	c.say("message", id, encode(payload))
}

func (c *client) fail(id string, err error) {
	failed, ok := status.FromError(err)
	if !ok {
		failed = status.New(localCode(err), err.Error())
	}
	var details []string
	for _, detail := range failed.Proto().GetDetails() {
		details = append(details, encode([]byte(detail.TypeUrl))+":"+encode(detail.Value))
	}
	code := strconv.Itoa(int(failed.Code()))
	c.say("fail", id, code, encode([]byte(failed.Message())), orDash(strings.Join(details, ",")))
}

// localCode is the code of an error that did not come from the server.
func localCode(err error) codes.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, ttrpc.ErrClosed):
		return codes.Unavailable
	default:
		return codes.Unknown
	}
}

// pairs reads metadata.
func pairs(text string) ttrpc.MD {
	metadata := ttrpc.MD{}
	for _, pair := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(pair, ":")
		metadata.Append(string(decodeBytes(key)), string(decodeBytes(value)))
	}
	return metadata
}

// decode makes a message of any type: one whose fields are all unknown keeps its bytes.
func decode(text string) proto.Message {
	message := new(emptypb.Empty)
	if err := proto.Unmarshal(decodeBytes(text), message); err != nil {
		fatal(err)
	}
	return message
}

func decodeBytes(text string) []byte {
	if text == "-" {
		return nil
	}
	decoded, err := hex.DecodeString(text)
	if err != nil {
		fatal(err)
	}
	return decoded
}

func encode(data []byte) string {
	return orDash(hex.EncodeToString(data))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
