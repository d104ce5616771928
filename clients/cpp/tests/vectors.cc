// Requests are the bytes that all clients make of ../vectors.json.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "turnout/serving/v1/prediction_service.pb.h"

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using turnout::serving::v1::PredictRequest;
using turnout::tensor::v1::DataType_Parse;
using turnout::tensor::v1::Tensor;

template <typename Number>
void Append(Number number, std::string* data) {
  data->append(reinterpret_cast<const char*>(&number), sizeof number);  // little-endian, as all that gRPC runs on
}

void AppendElement(const std::string& dtype, const std::string& text, std::string* data) {
  if (dtype == "BOOL") return Append<uint8_t>(text == "true", data);
  if (dtype == "INT8") return Append(static_cast<int8_t>(std::stoll(text)), data);
  if (dtype == "INT16") return Append(static_cast<int16_t>(std::stoll(text)), data);
  if (dtype == "INT32") return Append(static_cast<int32_t>(std::stoll(text)), data);
  if (dtype == "INT64") return Append(static_cast<int64_t>(std::stoll(text)), data);
  if (dtype == "UINT8") return Append(static_cast<uint8_t>(std::stoull(text)), data);
  if (dtype == "UINT16" || dtype == "FLOAT16") return Append(static_cast<uint16_t>(std::stoull(text)), data);
  if (dtype == "UINT32") return Append(static_cast<uint32_t>(std::stoull(text)), data);
  if (dtype == "UINT64") return Append(static_cast<uint64_t>(std::stoull(text)), data);
  if (dtype == "FLOAT32") return Append(std::strtof(text.c_str(), nullptr), data);
  if (dtype == "FLOAT64") return Append(std::strtod(text.c_str(), nullptr), data);
  Append(static_cast<uint32_t>(text.size()), data);
  data->append(text);
}

const Value& Get(const Struct& object, const std::string& name) {
  static const Value nothing;
  const auto found = object.fields().find(name);
  return found == object.fields().end() ? nothing : found->second;
}

std::string Text(const Struct& object, const std::string& name) { return Get(object, name).string_value(); }

void Fill(const Struct& input, Tensor* tensor) {
  const std::string dtype = Text(input, "dtype");
  turnout::tensor::v1::DataType type;
  if (!DataType_Parse("DATA_TYPE_" + dtype, &type)) throw std::runtime_error(dtype);
  tensor->set_name(Text(input, "name"));
  tensor->set_data_type(type);
  for (const Value& extent : Get(input, "shape").list_value().values()) tensor->add_shape(std::stoll(extent.string_value()));
  for (const Value& value : Get(input, "values").list_value().values()) {
    AppendElement(dtype, value.string_value(), tensor->mutable_data());
  }
}

PredictRequest RequestOf(const Struct& vector) {
  PredictRequest request;
  request.set_model(Text(vector, "model"));
  request.set_request_id(Text(vector, "request_id"));
  request.set_unit_id(Text(vector, "unit_id"));
  if (vector.fields().count("version")) request.set_version(std::stoll(Text(vector, "version")));
  if (vector.fields().count("alias")) request.set_alias(Text(vector, "alias"));
  if (vector.fields().count("event_time_us")) request.set_event_time_us(std::stoll(Text(vector, "event_time_us")));
  for (const auto& [key, value] : Get(vector, "entities").struct_value().fields()) {
    (*request.mutable_entities())[key] = value.string_value();
  }
  for (const auto& [key, value] : Get(vector, "attributes").struct_value().fields()) {
    (*request.mutable_attributes())[key] = value.string_value();
  }
  for (const auto& [key, value] : Get(vector, "features").struct_value().fields()) {
    (*request.mutable_features())[key] = std::strtod(value.string_value().c_str(), nullptr);
  }
  for (const Value& input : Get(vector, "inputs").list_value().values()) Fill(input.struct_value(), request.add_inputs());
  return request;
}

std::string HexOf(const PredictRequest& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace

int main(int, char** arguments) {
  std::stringstream text;
  text << std::ifstream(arguments[1]).rdbuf();
  google::protobuf::ListValue vectors;
  const auto read = google::protobuf::util::JsonStringToMessage(text.str(), &vectors);
  if (!read.ok() || vectors.values_size() < 20) {
    std::cerr << read.ToString() << ": " << vectors.values_size() << " vectors\n";
    return 1;
  }
  int wrong = 0;
  for (const Value& value : vectors.values()) {
    const Struct& vector = value.struct_value();
    const std::string made = HexOf(RequestOf(vector));
    if (made == Text(vector, "bytes")) continue;
    std::cerr << Text(vector, "case") << ": made " << made << "\nwant " << Text(vector, "bytes") << "\n";
    wrong += 1;
  }
  std::cout << vectors.values_size() << " vectors, " << wrong << " wrong\n";
  return wrong == 0 ? 0 : 1;
}
