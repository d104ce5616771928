// A client by Go's own gRPC core, which shares no code with grpcio's.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const say = "/turnout.test.Echo/Say"

// rawCodec passes bytes through.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte{}, data...); return nil }
func (rawCodec) Name() string                       { return "raw" }

var _ encoding.Codec = rawCodec{}

func call(connection *grpc.ClientConn, path string, payload []byte, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var answer []byte
	err := connection.Invoke(ctx, path, &payload, &answer, grpc.ForceCodec(rawCodec{}),
		grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20))
	return answer, err
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	var wrong atomic.Int64
	var group sync.WaitGroup
	for worker := range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := range 100 {
				sent := fmt.Sprintf("%d/%d", worker, number)
				answer, err := call(connection, say, []byte(sent), 20*time.Second)
				if err != nil || string(answer) != sent {
					wrong.Add(1)
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("2000 calls: %d wrong\n", wrong.Load())
	answer, err := call(connection, say, make([]byte, 4<<20), 20*time.Second)
	must(err)
	fmt.Printf("large: %d\n", len(answer))
	_, err = call(connection, say, []byte("fail"), 20*time.Second)
	fmt.Printf("error: %v %s\n", status.Code(err), status.Convert(err).Message())
	_, err = call(connection, "/turnout.test.Echo/Whisper", []byte("x"), 20*time.Second)
	fmt.Printf("unknown: %v\n", status.Code(err))
	_, err = call(connection, say, []byte("hold"), 100*time.Millisecond)
	fmt.Printf("deadline: %v\n", status.Code(err))
	_, err = call(connection, say, make([]byte, 17<<20), 20*time.Second)
	fmt.Printf("too large: %v\n", status.Code(err))
	talk(connection)
	health, err := healthpb.NewHealthClient(connection).Check(context.Background(), &healthpb.HealthCheckRequest{})
	must(err)
	fmt.Printf("health: %v\n", health.Status)
}

func talk(connection *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, description, "/turnout.test.Echo/Talk", grpc.ForceCodec(rawCodec{}))
	must(err)
	go func() {
		for number := range 200 {
			message := []byte(fmt.Sprint(number))
			if stream.SendMsg(&message) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for number := 0; ; number++ {
		var answer []byte
		err := stream.RecvMsg(&answer)
		if err == io.EOF {
			fmt.Printf("stream: %d answers in order\n", number)
			return
		}
		must(err)
		if string(answer) != fmt.Sprint(number) {
			fmt.Fprintf(os.Stderr, "answer %d is %q\n", number, answer)
			os.Exit(1)
		}
	}
}
