// Package turnout asks a Turnout gateway for predictions and records what happened later.
//
// It is a thin layer over the generated stubs below gen/: a connection that is made well, typed values in place of
// bytes, and errors with reasons. Who is assigned to what is decided by the gateway alone.
package turnout

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	outcomes "turnout.example/client/gen/turnout/outcomes/v1"
	serving "turnout.example/client/gen/turnout/serving/v1"
)

// Version is the version of this package and of the contract that it speaks.
const Version = "0.1.0"

// Client asks one gateway or several. It is made once, shared between goroutines, and closed at the end.
type Client struct {
	// Predictions has the calls that Client has no method for: batches and streams.
	Predictions serving.PredictionServiceClient
	// Outcomes has the calls that Client has no method for.
	Outcomes outcomes.OutcomeServiceClient
	// Connection is what other stubs below gen/ can be made with.
	Connection *grpc.ClientConn
}

// Dial returns a client of the gateway at an address: host:port, a name that gRPC resolves (dns:///name:port), or
// several IP:port with commas between them, which take calls in turn. Empty: the one in TURNOUT_DATA_SERVER, else
// 127.0.0.1:8001. What no setting says, TURNOUT_TOKEN, TURNOUT_TOKEN_FILE and TURNOUT_TLS_CA do. Nothing is connected
// before the first call.
func Dial(address string, settings ...Setting) (*Client, error) {
	connection, err := connect(address, settings)
	if err != nil {
		return nil, err
	}
	return &Client{
		Predictions: serving.NewPredictionServiceClient(connection),
		Outcomes:    outcomes.NewOutcomeServiceClient(connection),
		Connection:  connection,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.Connection.Close() }

// Ask is what a call for a prediction says, but for the model.
type Ask struct {
	// Entities is what stored features are looked up for: join key to value, for example carrier to UA.
	Entities map[string]string
	// Features are given by the caller; each wins over the stored value.
	Features map[string]float64
	// Inputs are the model's inputs as tensors, see Of.
	Inputs []*Tensor
	// Unit is what is assigned and observed; empty with exactly one entity: that entity's value.
	Unit string
	// Version or Alias pins what answers; such a call is in no experiment.
	Version int64
	Alias   string
	// Attributes are facts that targeting and reports may use.
	Attributes map[string]string
	// EventTimeUS is when the event happened, in microseconds since the Unix epoch; 0 means now.
	EventTimeUS int64
	// RequestID is the prediction's identity; empty: one is made before the first try, so that a retry is the same one.
	RequestID string
}

// Request returns the message that asks a model, for the stubs of streams.
func (a Ask) Request(model string) *serving.PredictRequest {
	request := &serving.PredictRequest{
		Model: model, Entities: a.Entities, Features: a.Features, Inputs: a.Inputs, UnitId: a.Unit,
		Attributes: a.Attributes, RequestId: a.RequestID,
	}
	if request.RequestId == "" {
		request.RequestId = NewRequestID()
	}
	if a.EventTimeUS != 0 {
		request.EventTimeUs = &a.EventTimeUS
	}
	if a.Alias != "" {
		request.Pin = &serving.PredictRequest_Alias{Alias: a.Alias}
	} else if a.Version != 0 {
		request.Pin = &serving.PredictRequest_Version{Version: a.Version}
	}
	return request
}

// Prediction is the answer to one call.
type Prediction struct {
	// RequestID is the prediction's identity; outcomes refer to it.
	RequestID string
	Model     string
	Version   int64
	// Experiment and Variant say what chose the version; empty outside an experiment.
	Experiment, Variant string
	// Outputs are the model's outputs by name, see Values.
	Outputs map[string]*Tensor
	// Views says how the stored features came about, view by view.
	Views []*serving.ViewReading
}

// Read returns the prediction that a message holds, for the stubs of streams.
func Read(response *serving.PredictResponse) *Prediction {
	answer := &Prediction{
		RequestID: response.RequestId, Model: response.Model, Version: response.Version,
		Experiment: response.Experiment, Variant: response.Variant,
		Outputs: make(map[string]*Tensor, len(response.Outputs)), Views: response.FeatureStatus,
	}
	for _, output := range response.Outputs {
		answer.Outputs[output.Name] = output
	}
	return answer
}

// Predict returns one prediction. What it fails with is an *Error where a gateway refused the call.
func (c *Client) Predict(ctx context.Context, model string, ask Ask) (*Prediction, error) {
	if ask.Alias != "" && ask.Version != 0 {
		return nil, fmt.Errorf("turnout: version %d and alias %q are given: which of the two?", ask.Version, ask.Alias)
	}
	response, err := c.Predictions.Predict(ctx, ask.Request(model))
	if err != nil {
		return nil, ErrorOf(err)
	}
	return Read(response), nil
}

// Outcome is something that happened after a prediction. Recording one twice is harmless.
type Outcome struct {
	// Name is what metrics refer to, for example late.
	Name string
	// Value is a finite number; a boolean is 0 or 1. Label is a category in its place.
	Value float64
	Label string
	// RequestID is the prediction that it is an outcome of. Without one, Unit and ID are given: it is of the latest
	// earlier prediction of the unit (of Model, unless that is empty).
	RequestID, Unit, ID, Model string
	// EventTimeUS is when it happened; 0 means now.
	EventTimeUS int64
	// Sequence corrects: of several outcomes with one subject, name and ID the highest counts.
	Sequence int64
}

// Message returns the outcome as the stubs take it.
func (o Outcome) Message() *outcomes.Outcome {
	message := &outcomes.Outcome{
		Name: o.Name, Value: o.Value, Label: o.Label, OutcomeId: o.ID, Model: o.Model, Sequence: o.Sequence,
	}
	if o.RequestID != "" {
		message.Subject = &outcomes.Outcome_RequestId{RequestId: o.RequestID}
	} else {
		message.Subject = &outcomes.Outcome_UnitId{UnitId: o.Unit}
	}
	if o.EventTimeUS != 0 {
		message.EventTimeUs = &o.EventTimeUS
	}
	return message
}

// RecordOutcome records one outcome; once it returns nil, the outcome survives the death of every process.
func (c *Client) RecordOutcome(ctx context.Context, outcome Outcome) error {
	request := &outcomes.RecordOutcomesRequest{Outcomes: []*outcomes.Outcome{outcome.Message()}}
	response, err := c.Outcomes.RecordOutcomes(ctx, request)
	if err != nil {
		return ErrorOf(err)
	}
	return refused(response.Results[0])
}
