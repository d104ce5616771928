package main

import (
	"context"
	"fmt"
	"log"

	turnout "turnout.example/client"
)

func main() {
	client, err := turnout.Dial("") // TURNOUT_DATA_SERVER, else 127.0.0.1:8001
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()

	flower := turnout.Of("flower", []float32{5.1, 3.5, 1.4, 0.2}, 1, 4)
	answer, err := client.Predict(ctx, "iris", turnout.Ask{Unit: "flower-1", Inputs: []*turnout.Tensor{flower}})
	if err != nil {
		log.Fatalf("%s: %v", turnout.ReasonOf(err), err)
	}
	chances, err := turnout.Values[float32](answer.Outputs["probabilities"])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d: a virginica by %.3f\n", answer.Version, chances[1])

	outcome := turnout.Outcome{Name: "virginica", Value: 0, RequestID: answer.RequestID}
	if err := client.RecordOutcome(ctx, outcome); err != nil {
		log.Fatal(err)
	}
}
