// The tour: every kind of call against a gateway that the environment names, and what is answered. All clients print
// the same. `tour load FILE` makes calls from four goroutines until there is that file, and says how many failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	turnout "turnout.example/client"
	outcomes "turnout.example/client/gen/turnout/outcomes/v1"
	serving "turnout.example/client/gen/turnout/serving/v1"
)

func main() {
	client, err := turnout.Dial("") // the environment says where, and with which token
	must(err)
	defer client.Close()
	if len(os.Args) > 2 && os.Args[1] == "load" {
		load(client, os.Args[2])
		return
	}
	tour(traced(context.Background()), client)
}

// traced returns a context in the span that the environment names, as OpenTelemetry's SDK would make one.
func traced(ctx context.Context) context.Context {
	id, err := trace.TraceIDFromHex(os.Getenv("TOUR_TRACE"))
	if err != nil {
		return ctx
	}
	span := trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{7: 0xaa}, TraceFlags: trace.FlagsSampled}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(span))
}

var atBasel = turnout.Ask{
	Entities: map[string]string{"driver": "d3", "city": "basel"},
	Features: map[string]float64{"hour": 7},
	Unit:     "d3",
}

func row(values ...float32) turnout.Ask {
	inputs := []*turnout.Tensor{turnout.Of("x", values, 1, int64(len(values)))}
	return turnout.Ask{Inputs: inputs, Unit: "u", Alias: "champion"}
}

func tour(ctx context.Context, client *turnout.Client) {
	answer, err := client.Predict(ctx, "ride", atBasel)
	must(err)
	statuses := []string{}
	for _, view := range answer.Views {
		statuses = append(statuses, strings.TrimPrefix(view.Status.String(), "VIEW_STATUS_"))
	}
	fmt.Println("entity:", scores(answer), strings.Join(statuses, " "))
	tensor, err := client.Predict(ctx, "ride", row(1, 2, 3, 4))
	must(err)
	fmt.Println("tensor:", scores(tensor))
	batch(ctx, client)
	stream(ctx, client)

	must(client.RecordOutcome(ctx, turnout.Outcome{Name: "late", Value: 1, RequestID: answer.RequestID}))
	err = client.RecordOutcome(ctx, turnout.Outcome{Value: 1, RequestID: answer.RequestID})
	fmt.Println("outcome: recorded; without a name", said(err))
	_, err = client.Predict(ctx, "nobody", row(1, 2, 3, 4))
	fmt.Println("missing:", said(err))
	_, err = client.Predict(ctx, "ride", row(1, 2, 3))
	fmt.Println("invalid:", said(err))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	long := turnout.Ask{Unit: "u", Inputs: []*turnout.Tensor{turnout.Of("times", []int64{2000}, 1)}}
	_, err = client.Predict(short, "slow", long)
	fmt.Println("deadline:", code(err))
}

func batch(ctx context.Context, client *turnout.Client) {
	response, err := client.Predictions.BatchPredict(ctx, &serving.BatchPredictRequest{
		Model: "ride", Rows: 3, UnitIds: []string{"a", "b", "c"}, RequestIds: []string{"", "two words", ""},
		Inputs: []*turnout.Tensor{turnout.Of("x", []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3, 4)},
	})
	must(err)
	rows := []string{}
	for _, part := range response.Parts {
		for _, row := range part.Rows {
			rows = append(rows, fmt.Sprint(row))
		}
	}
	refused := []string{}
	for _, one := range response.Errors {
		refused = append(refused, fmt.Sprint(one.Row, " ", said(turnout.RowError(one.Error))))
	}
	fmt.Println("batch: rows", strings.Join(rows, " "), "answered; refused", strings.Join(refused, ", "))
}

func stream(ctx context.Context, client *turnout.Client) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	talk, err := client.Predictions.StreamPredict(ctx)
	must(err)
	for _, model := range []string{"ride", "nobody", "ride"} {
		must(talk.Send(&serving.StreamPredictRequest{Request: row(1, 2, 3, 4).Request(model)}))
	}
	must(talk.CloseSend())
	answers := []string{}
	for {
		response, err := talk.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		if refusal := response.GetError(); refusal != nil {
			answers = append(answers, said(turnout.RowError(refusal)))
		} else {
			answers = append(answers, scores(turnout.Read(response.GetPrediction())))
		}
	}
	fmt.Println("stream:", strings.Join(answers, ", "))
	acknowledge(ctx, client)
}

func acknowledge(ctx context.Context, client *turnout.Client) {
	talk, err := client.Outcomes.StreamOutcomes(ctx)
	must(err)
	late := turnout.Outcome{Name: "late", Value: 1, Unit: "d3", ID: "1"}
	must(talk.Send(&outcomes.StreamOutcomesRequest{Outcomes: []*outcomes.Outcome{late.Message(), late.Message()}}))
	must(talk.CloseSend())
	response, err := talk.Recv()
	must(err)
	fmt.Println("stream of outcomes:", len(response.Results), "acknowledged")
}

// load makes calls until there is the file, and says when a hundred are answered: then a gateway may be killed.
func load(client *turnout.Client, until string) {
	var done, failed atomic.Int64
	var lock sync.Mutex
	var group sync.WaitGroup
	versions := []string{}
	for range 4 {
		group.Go(func() {
			for !exists(until) {
				// The first calls wait for connections, on a machine that does much else.
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				answer, err := client.Predict(ctx, "ride", row(1, 2, 3, 4))
				cancel()
				lock.Lock()
				if err != nil {
					failed.Add(1)
					log.Print(err)
				} else if version := fmt.Sprint(answer.Version); !slices.Contains(versions, version) {
					versions = append(versions, version)
				}
				lock.Unlock()
				if done.Add(1) == 100 {
					fmt.Println("under load")
				}
			}
		})
	}
	group.Wait()
	slices.Sort(versions)
	fmt.Printf("load: %d failed, versions %s\n", failed.Load(), strings.Join(versions, " "))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func scores(answer *turnout.Prediction) string {
	values, err := turnout.Values[float32](answer.Outputs["score"])
	must(err)
	texts := []string{}
	for _, value := range values {
		texts = append(texts, fmt.Sprint(int(value*1000)))
	}
	return strings.Join(texts, " ")
}

func code(err error) string {
	var refusal *turnout.Error
	if !errors.As(err, &refusal) {
		return fmt.Sprint(err)
	}
	return turnout.CodeName(refusal.Code)
}

func said(err error) string { return code(err) + " " + turnout.ReasonOf(err) }

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
