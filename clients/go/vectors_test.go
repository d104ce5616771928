package turnout

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

type vector struct {
	Case, Model, Bytes, Version, Alias string
	RequestID                          string `json:"request_id"`
	UnitID                             string `json:"unit_id"`
	EventTimeUS                        string `json:"event_time_us"`
	Entities, Attributes, Features     map[string]string
	Inputs                             []struct {
		Name, Dtype   string
		Shape, Values []string
	}
}

func number[N any](t *testing.T, text string, parse func(string) (N, error)) N {
	t.Helper()
	value, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func integer(text string) (int64, error)   { return strconv.ParseInt(text, 10, 64) }
func natural(text string) (uint64, error)  { return strconv.ParseUint(text, 10, 64) }
func float(text string) (float64, error)   { return strconv.ParseFloat(text, 64) }
func verbatim(text string) (string, error) { return text, nil }
func boolean(text string) (bool, error)    { return strconv.ParseBool(text) }
func single(text string) (float32, error) {
	v, err := strconv.ParseFloat(text, 32)
	return float32(v), err
}
func narrowed[N, W int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | Float16](
	parse func(string) (W, error)) func(string) (N, error) {
	return func(text string) (N, error) { v, err := parse(text); return N(v), err }
}

func of[E Element](t *testing.T, name string, texts []string, shape []int64, parse func(string) (E, error)) *Tensor {
	t.Helper()
	values := make([]E, 0, len(texts))
	for _, text := range texts {
		values = append(values, number(t, text, parse))
	}
	made := Of(name, values, shape...)
	back, err := Values[E](made)
	if err != nil || len(back) != len(values) || len(values) > 0 && !reflect.DeepEqual(back, values) {
		t.Errorf("%v came back as %v (%v)", values, back, err)
	}
	return made
}

func tensorOf(t *testing.T, name, dtype string, values []string, shape []int64) *Tensor {
	t.Helper()
	switch dtype {
	case "BOOL":
		return of(t, name, values, shape, boolean)
	case "INT8":
		return of(t, name, values, shape, narrowed[int8](integer))
	case "INT16":
		return of(t, name, values, shape, narrowed[int16](integer))
	case "INT32":
		return of(t, name, values, shape, narrowed[int32](integer))
	case "INT64":
		return of(t, name, values, shape, integer)
	case "UINT8":
		return of(t, name, values, shape, narrowed[uint8](natural))
	case "UINT16":
		return of(t, name, values, shape, narrowed[uint16](natural))
	case "UINT32":
		return of(t, name, values, shape, narrowed[uint32](natural))
	case "UINT64":
		return of(t, name, values, shape, natural)
	case "FLOAT16":
		return of(t, name, values, shape, narrowed[Float16](natural))
	case "FLOAT32":
		return of(t, name, values, shape, single)
	case "FLOAT64":
		return of(t, name, values, shape, float)
	default:
		return of(t, name, values, shape, verbatim)
	}
}

func (v vector) ask(t *testing.T) Ask {
	t.Helper()
	ask := Ask{Entities: v.Entities, Attributes: v.Attributes, Unit: v.UnitID, Alias: v.Alias, RequestID: v.RequestID}
	if v.Version != "" {
		ask.Version = number(t, v.Version, integer)
	}
	if v.EventTimeUS != "" {
		ask.EventTimeUS = number(t, v.EventTimeUS, integer)
	}
	ask.Features = map[string]float64{}
	for name, text := range v.Features {
		ask.Features[name] = number(t, text, float)
	}
	for _, input := range v.Inputs {
		shape := []int64{}
		for _, extent := range input.Shape {
			shape = append(shape, number(t, extent, integer))
		}
		ask.Inputs = append(ask.Inputs, tensorOf(t, input.Name, input.Dtype, input.Values, shape))
	}
	return ask
}

// inOrder returns a message with its fields by rising number: Go's library alone writes those of a oneof last.
func inOrder(message []byte) []byte {
	fields := [][]byte{}
	for len(message) > 0 {
		_, _, size := protowire.ConsumeField(message)
		if size < 0 {
			panic(protowire.ParseError(size))
		}
		fields = append(fields, message[:size])
		message = message[size:]
	}
	slices.SortStableFunc(fields, func(a, b []byte) int {
		left, _, _ := protowire.ConsumeTag(a)
		right, _, _ := protowire.ConsumeTag(b)
		return int(left - right)
	})
	return slices.Concat(fields...)
}

func TestRequestsAreTheBytesThatAllClientsMake(t *testing.T) {
	data, err := os.ReadFile("../vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 20 {
		t.Fatalf("there are %d vectors only", len(vectors))
	}
	for _, one := range vectors {
		t.Run(one.Case, func(t *testing.T) {
			made, err := proto.MarshalOptions{Deterministic: true}.Marshal(one.ask(t).Request(one.Model))
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(inOrder(made)) != one.Bytes {
				t.Errorf("made %x\nwant %s", made, one.Bytes)
			}
		})
	}
}

func TestTensorsThatAreNoneAreRefused(t *testing.T) {
	whole := Of("x", []string{"ab", "c"}, 2)
	for size := range whole.Data {
		if _, err := Values[string](&Tensor{Name: "x", DataType: whole.DataType, Shape: []int64{2}, Data: whole.Data[:size]}); err == nil {
			t.Errorf("a text cut to %d bytes was read", size)
		}
	}
	numbers := Of("x", []int32{1, 2}, 2)
	if _, err := Values[int64](numbers); err == nil {
		t.Error("int32 was read as int64")
	}
	if _, err := Values[int32](&Tensor{Name: "x", DataType: numbers.DataType, Shape: []int64{3}, Data: numbers.Data}); err == nil {
		t.Error("two elements were read as three")
	}
	if _, err := Values[int32](nil); err == nil {
		t.Error("no tensor was read")
	}
}

func TestATokenDoesNotTravelInClear(t *testing.T) {
	for address, fine := range map[string]bool{
		"gateway.example:8001": false, "10.0.0.1:8001": false, "127.0.0.1:1,10.0.0.2:1": false, "dns:///gateway:1": false,
		"127.0.0.1:8001": true, "localhost:8001": true, "[::1]:8001": true, "127.0.0.1:1,127.0.0.2:1": true, "unix:/run/x": true,
	} {
		client, err := Dial(address, Token("secret"))
		if (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
		if client != nil {
			_ = client.Close()
		}
		encrypted, err := Dial(address, Token("secret"), TLS(nil))
		if err != nil {
			t.Errorf("%s by TLS: %v", address, err)
			continue
		}
		_ = encrypted.Close()
	}
}

func TestRequestIDsAreUUIDsOfVersion7InOrder(t *testing.T) {
	id := NewRequestID()
	if len(id) != 36 || id[14] != '7' || !('8' <= id[19] && id[19] <= 'b') && id[19] != '9' {
		t.Error(id)
	}
	if NewRequestID() == id {
		t.Error("the same twice")
	}
}
