package turnout

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outcomes "turnout.example/client/gen/turnout/outcomes/v1"
	serving "turnout.example/client/gen/turnout/serving/v1"
)

// Error is why a call was not answered. Code says what a caller can do, Reason exactly what happened.
type Error struct {
	Code codes.Code
	// Reason is machine-readable, for example MODEL_NOT_SERVED; UNREACHABLE where no gateway answered.
	Reason string
	// Message says what is wrong and what to do about it, as a sentence.
	Message string
	// Facts are the values that matter, by name.
	Facts map[string]string
	// RetryAfter is when to try again, where the gateway says so.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// GRPCStatus lets status.Code and its kin read the error.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// ErrorOf returns the *Error that a failed call of a stub stands for, with the reason from its google.rpc.ErrorInfo.
// What is no status of gRPC is returned as it is.
func ErrorOf(err error) error {
	var known *Error
	said, ok := status.FromError(err)
	if err == nil || errors.As(err, &known) || !ok {
		return err
	}
	found := &Error{Code: said.Code(), Message: said.Message()}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason, found.Facts = detail.Reason, detail.Metadata
		case *errdetails.RetryInfo:
			found.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	if found.Reason == "" { // a gateway always says why: this came from the network, or from here
		found.Reason = codeNames[said.Code()]
		if said.Code() == codes.Unavailable {
			found.Reason = "UNREACHABLE"
		}
	}
	return found
}

// ReasonOf returns the reason of an error of this package or of a stub; empty where it has none.
func ReasonOf(err error) string {
	var found *Error
	if errors.As(ErrorOf(err), &found) {
		return found.Reason
	}
	return ""
}

// RowError returns why one of several predictions was not answered, as the call of its own would have failed.
func RowError(err *serving.PredictionError) *Error {
	return &Error{Code: codes.Code(err.Code), Reason: err.Reason, Message: err.Message, Facts: err.Facts}
}

func refused(result *outcomes.OutcomeResult) error {
	switch result.Status {
	case outcomes.OutcomeStatus_OUTCOME_STATUS_RECORDED:
		return nil
	case outcomes.OutcomeStatus_OUTCOME_STATUS_INVALID:
		return &Error{Code: codes.InvalidArgument, Reason: result.Reason, Message: result.Message}
	default: // also a status that is newer than this package: recording again is harmless
		return &Error{Code: codes.Unavailable, Reason: result.Reason, Message: result.Message}
	}
}

var codeNames = map[codes.Code]string{
	codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

// CodeName returns a status code as the contract spells it, for example NOT_FOUND.
func CodeName(code codes.Code) string {
	if name, known := codeNames[code]; known {
		return name
	}
	return fmt.Sprint(code)
}
