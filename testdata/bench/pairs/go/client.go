package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// load is one of the parallel loads of a client.
type load struct {
	arguments
	client  *ttrpc.Client
	request *wrapperspb.BytesValue
	tally   *tally
}

// tally is what a load has done. Latencies are kept of one call in eight.
type tally struct {
	messages  atomic.Int64
	latencies []time.Duration
	measuring *atomic.Bool
}

func (t *tally) call(begun time.Time) {
	if n := t.messages.Add(1); n%8 == 0 && t.measuring.Load() && len(t.latencies) < cap(t.latencies) {
		t.latencies = append(t.latencies, time.Since(begun))
	}
}

func call(a arguments) {
	var clients []*ttrpc.Client
	for range a.conns + a.idle {
		connection := must(net.Dial("unix", a.socket))
		client := ttrpc.NewClient(connection)
		load := load{arguments: a, client: client, request: wrapperspb.Bytes(make([]byte, a.size))}
		load.unary()
		clients = append(clients, client)
	}
	if a.mode == "idle" {
		hold()
		return
	}
	measuring := new(atomic.Bool)
	var tallies []*tally
	for _, client := range clients[:a.conns] {
		for range a.inflight {
			tally := &tally{measuring: measuring, latencies: make([]time.Duration, 0, 1<<14)}
			tallies = append(tallies, tally)
			load := load{a, client, wrapperspb.Bytes(make([]byte, a.size)), tally}
			go load.run()
		}
	}
	time.Sleep(time.Duration(a.warmup * float64(time.Second)))
	own, others := cpu("self"), cpu(strconv.Itoa(a.serverPid))
	before, begun := sum(tallies), time.Now()
	measuring.Store(true)
	time.Sleep(time.Duration(a.seconds * float64(time.Second)))
	measuring.Store(false)
	messages, seconds := float64(sum(tallies)-before), time.Since(begun).Seconds()
	nowOwn, nowOthers := cpu("self"), cpu(strconv.Itoa(a.serverPid))
	var latencies []time.Duration
	for _, tally := range tallies {
		latencies = append(latencies, tally.latencies...)
	}
	slices.Sort(latencies)
	percentile := func(part float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return float64(latencies[int(float64(len(latencies)-1)*part)].Nanoseconds()) / 1e3
	}
	each := func(now, then float64) float64 { return (now - then) * 1e6 / max(messages, 1) }
	fmt.Printf(`{"messages":%f,"seconds":%f,"rate":%f,"p50_us":%f,"p99_us":%f,`,
		messages, seconds, messages/seconds, percentile(0.5), percentile(0.99))
	fmt.Printf(`"client_user_us":%f,"client_system_us":%f,"server_user_us":%f,"server_system_us":%f}`+"\n",
		each(nowOwn[0], own[0]), each(nowOwn[1], own[1]),
		each(nowOthers[0], others[0]), each(nowOthers[1], others[1]))
	os.Exit(0)
}

func sum(tallies []*tally) (all int64) {
	for _, tally := range tallies {
		all += tally.messages.Load()
	}
	return all
}

// cpu is the user and system time of a process, in seconds.
func cpu(pid string) (times [2]float64) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return times
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	for i := range times {
		ticks, _ := strconv.ParseFloat(fields[11+i], 64)
		times[i] = ticks / 100
	}
	return times
}

func (l *load) run() {
	for {
		begun := time.Now()
		switch l.mode {
		case "unary":
			l.unary()
			l.tally.call(begun)
		case "server-stream":
			l.serverStream()
		case "client-stream":
			l.clientStream()
		case "bidi":
			l.bidi()
		default:
			fatal("unknown mode", l.mode)
		}
	}
}

func (l *load) unary() {
	reply := new(wrapperspb.BytesValue)
	if err := l.client.Call(context.Background(), service, "Unary", l.request, reply); err != nil {
		fatal(err)
	}
	if len(reply.Value) != l.size {
		fatal("a reply of", len(reply.Value), "bytes")
	}
}

func (l *load) open(method string, desc ttrpc.StreamDesc, request any) ttrpc.ClientStream {
	return must(l.client.NewStream(context.Background(), &desc, service, method, request))
}

func (l *load) serverStream() {
	amount := &durationpb.Duration{Seconds: int64(l.messages), Nanos: int32(l.size)}
	stream := l.open("ServerStream", ttrpc.StreamDesc{StreamingServer: true}, amount)
	for {
		err := stream.RecvMsg(new(wrapperspb.BytesValue))
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fatal(err)
		}
		l.tally.messages.Add(1)
	}
}

func (l *load) clientStream() {
	stream := l.open("ClientStream", ttrpc.StreamDesc{StreamingClient: true}, nil)
	for range l.messages {
		if err := stream.SendMsg(l.request); err != nil {
			fatal(err)
		}
	}
	amount := new(durationpb.Duration)
	if err := errors.Join(stream.CloseSend(), stream.RecvMsg(amount)); err != nil {
		fatal(err)
	}
	if amount.Seconds != int64(l.messages) {
		fatal("the server got", amount.Seconds)
	}
	l.tally.messages.Add(amount.Seconds)
}

func (l *load) bidi() {
	stream := l.open("Bidi", ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, nil)
	for {
		begun := time.Now()
		reply := new(wrapperspb.BytesValue)
		if err := errors.Join(stream.SendMsg(l.request), stream.RecvMsg(reply)); err != nil {
			fatal(err)
		}
		l.tally.call(begun)
	}
}
