package turnout

import (
	"bytes"
	"encoding/binary"
	"fmt"

	tensor "turnout.example/client/gen/turnout/tensor/v1"
)

// Tensor is a named array: dense, row-major, little-endian.
type Tensor = tensor.Tensor

// Float16 is the bits of an IEEE 754 binary16.
type Float16 uint16

// Element is what a tensor may hold.
type Element interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | Float16 | float32 | float64 | string
}

func typeOf[E Element]() tensor.DataType {
	var zero E
	switch any(zero).(type) {
	case bool:
		return tensor.DataType_DATA_TYPE_BOOL
	case int8:
		return tensor.DataType_DATA_TYPE_INT8
	case int16:
		return tensor.DataType_DATA_TYPE_INT16
	case int32:
		return tensor.DataType_DATA_TYPE_INT32
	case int64:
		return tensor.DataType_DATA_TYPE_INT64
	case uint8:
		return tensor.DataType_DATA_TYPE_UINT8
	case uint16:
		return tensor.DataType_DATA_TYPE_UINT16
	case uint32:
		return tensor.DataType_DATA_TYPE_UINT32
	case uint64:
		return tensor.DataType_DATA_TYPE_UINT64
	case Float16:
		return tensor.DataType_DATA_TYPE_FLOAT16
	case float32:
		return tensor.DataType_DATA_TYPE_FLOAT32
	case float64:
		return tensor.DataType_DATA_TYPE_FLOAT64
	default:
		return tensor.DataType_DATA_TYPE_STRING
	}
}

// Of returns values as a tensor of a shape. The element type of the values must be the model's own.
func Of[E Element](name string, values []E, shape ...int64) *Tensor {
	var data bytes.Buffer
	if texts, ok := any(values).([]string); ok {
		for _, text := range texts {
			_ = binary.Write(&data, binary.LittleEndian, uint32(len(text)))
			data.WriteString(text)
		}
	} else {
		_ = binary.Write(&data, binary.LittleEndian, values) // a buffer takes all that Element allows
	}
	return &Tensor{Name: name, DataType: typeOf[E](), Shape: shape, Data: data.Bytes()}
}

// Values returns a tensor's elements, row by row, or an error where they are of another type.
func Values[E Element](t *Tensor) ([]E, error) {
	if t == nil {
		return nil, fmt.Errorf("turnout: there is no such tensor")
	}
	if t.DataType != typeOf[E]() {
		return nil, fmt.Errorf("turnout: %s is of type %s, not %s", t.Name, t.DataType, typeOf[E]())
	}
	count := 1
	for _, extent := range t.Shape {
		count *= int(extent)
	}
	var values []E
	if texts, ok := any(&values).(*[]string); ok {
		err := readTexts(t, count, texts)
		return values, err
	}
	values = make([]E, min(count, len(t.Data))) // an element takes a byte or more
	if len(values) != count || binary.Size(values) != len(t.Data) {
		return nil, fmt.Errorf("turnout: %s has %d bytes, which is not what its shape %v takes", t.Name, len(t.Data), t.Shape)
	}
	err := binary.Read(bytes.NewReader(t.Data), binary.LittleEndian, values)
	return values, err
}

func readTexts(t *Tensor, count int, texts *[]string) error {
	rest := t.Data
	for range count {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.LittleEndian.Uint32(rest)) {
			return fmt.Errorf("turnout: %s ends before its %d texts do", t.Name, count)
		}
		end := 4 + int(binary.LittleEndian.Uint32(rest))
		*texts = append(*texts, string(rest[4:end]))
		rest = rest[end:]
	}
	return nil
}
