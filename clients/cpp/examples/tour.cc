// The tour: every kind of call against a gateway that the environment names, and what is answered. All clients print
// the same. `tour load FILE` makes calls from four threads until there is that file, and says how many failed.
#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "turnout/outcomes/v1/outcome_service.grpc.pb.h"
#include "turnout/serving/v1/prediction_service.grpc.pb.h"

namespace {

namespace serving = turnout::serving::v1;
namespace outcomes = turnout::outcomes::v1;
using std::chrono::milliseconds;

constexpr milliseconds kTimeout{10000};
// How long a call of the load may take: the first ones wait for connections, on a machine that does much else.
constexpr milliseconds kPatience{60000};

// Calls go round the gateways, and the channel itself tries again what ended with UNAVAILABLE, and nothing else.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s",
    "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]
})";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FileText(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// One connection to each gateway, and what every call says beside its request.
class Gateway {
 public:
  Gateway() {
    const std::string address = Environment("TURNOUT_DATA_SERVER");
    const std::string authority = Environment("TURNOUT_TLS_CA");
    const std::string token_file = Environment("TURNOUT_TOKEN_FILE");
    auto credentials = grpc::InsecureChannelCredentials();
    if (!authority.empty()) credentials = grpc::SslCredentials({FileText(authority), "", ""});
    grpc::ChannelArguments options;
    options.SetServiceConfigJSON(kServiceConfig);
    options.SetInt(GRPC_ARG_ENABLE_RETRIES, 1);
    options.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    // The name in a certificate is looked up by what the target says, which for several addresses is none.
    if (address.find(',') != std::string::npos) options.SetSslTargetNameOverride("localhost");
    channel_ = grpc::CreateCustomChannel(address.find(',') == std::string::npos ? address : "ipv4:" + address, credentials, options);
    if (!token_file.empty()) std::ifstream(token_file) >> token_;
    if (const std::string trace = Environment("TOUR_TRACE"); !trace.empty()) {
      traceparent_ = "00-" + trace + "-00000000000000aa-01";
    }
    predictions = serving::PredictionService::NewStub(channel_);
    outcomes = outcomes::OutcomeService::NewStub(channel_);
  }

  std::unique_ptr<grpc::ClientContext> Call(milliseconds timeout = kTimeout) const {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + timeout);
    if (!token_.empty()) context->AddMetadata("authorization", "Bearer " + token_);
    if (!traceparent_.empty()) context->AddMetadata("traceparent", traceparent_);
    return context;
  }

  std::unique_ptr<serving::PredictionService::Stub> predictions;
  std::unique_ptr<outcomes::OutcomeService::Stub> outcomes;

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::string token_;
  std::string traceparent_;
};

[[noreturn]] void Fail(const grpc::Status& status) {
  std::cerr << status.error_message() << " " << status.error_details() << "\n";
  std::exit(1);
}

void Must(const grpc::Status& status) {
  if (!status.ok()) Fail(status);
}

std::string CodeName(int code) {
  static const char* const kNames[] = {
      "OK",                 "CANCELLED",           "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
      "ALREADY_EXISTS",     "PERMISSION_DENIED",   "RESOURCE_EXHAUSTED",          "FAILED_PRECONDITION", "ABORTED",
      "OUT_OF_RANGE",       "UNIMPLEMENTED",       "INTERNAL", "UNAVAILABLE",     "DATA_LOSS",         "UNAUTHENTICATED"};
  return code >= 0 && code < static_cast<int>(std::size(kNames)) ? kNames[code] : std::to_string(code);
}

// Returns the value of a message's field that has a length; all of its fields have one, or are numbers.
std::string Field(const std::string& message, uint32_t wanted) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(message.data()), message.size());
  std::string value;
  uint64_t number = 0;
  uint32_t length = 0;
  while (const uint32_t tag = input.ReadTag()) {
    if ((tag & 7) == 0 && input.ReadVarint64(&number)) continue;
    if ((tag & 7) != 2 || !input.ReadVarint32(&length) || !input.ReadString(&value, length)) return "";
    if (tag >> 3 == wanted) return value;
  }
  return "";
}

// Returns what was refused: the code, and the reason of the google.rpc.ErrorInfo that is the status's first detail.
std::string Said(const grpc::Status& status) {
  const std::string any = Field(status.error_details(), 3);
  return CodeName(status.error_code()) + " " + Field(Field(any, 2), 1);
}

std::string Said(const serving::PredictionError& error) { return CodeName(error.code()) + " " + error.reason(); }

template <typename Element>
void Input(serving::PredictRequest* request, const std::string& name, turnout::tensor::v1::DataType type,
           const std::vector<Element>& values, std::initializer_list<int64_t> shape) {
  auto* tensor = request->add_inputs();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (const int64_t extent : shape) tensor->add_shape(extent);
  tensor->set_data(values.data(), values.size() * sizeof(Element));  // little-endian, as all that gRPC runs on
}

serving::PredictRequest Row(const std::string& model, const std::vector<float>& values) {
  serving::PredictRequest request;
  request.set_model(model);
  request.set_unit_id("u");
  Input(&request, "x", turnout::tensor::v1::DATA_TYPE_FLOAT32, values, {1, static_cast<int64_t>(values.size())});
  return request;
}

std::string Scores(const serving::PredictResponse& answer) {
  const std::string& data = answer.outputs(0).data();
  std::vector<float> values(data.size() / sizeof(float));
  data.copy(reinterpret_cast<char*>(values.data()), data.size());
  std::string text;
  for (const float value : values) text += (text.empty() ? "" : " ") + std::to_string(static_cast<int>(value * 1000));
  return text;
}

grpc::Status Predict(const Gateway& gateway, const serving::PredictRequest& request, serving::PredictResponse* answer,
                     milliseconds timeout = kTimeout) {
  return gateway.predictions->Predict(gateway.Call(timeout).get(), request, answer);
}

std::string Refusal(const Gateway& gateway, const serving::PredictRequest& request) {
  serving::PredictResponse answer;
  return Said(Predict(gateway, request, &answer));
}

void Batch(const Gateway& gateway) {
  serving::PredictRequest table;
  Input(&table, "x", turnout::tensor::v1::DATA_TYPE_FLOAT32, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {3, 4});
  serving::BatchPredictRequest request;
  request.set_model("ride");
  request.set_rows(3);
  *request.add_inputs() = table.inputs(0);
  for (const char* unit : {"a", "b", "c"}) request.add_unit_ids(unit);
  for (const char* id : {"", "two words", ""}) request.add_request_ids(id);
  serving::BatchPredictResponse response;
  Must(gateway.predictions->BatchPredict(gateway.Call().get(), request, &response));
  std::cout << "batch: rows";
  for (const auto& part : response.parts()) {
    for (const int row : part.rows()) std::cout << " " << row;
  }
  std::cout << " answered; refused";
  for (const auto& one : response.errors()) std::cout << " " << one.row() << " " << Said(one.error());
  std::cout << std::endl;
}

void Stream(const Gateway& gateway) {
  const auto context = gateway.Call();
  const auto talk = gateway.predictions->StreamPredict(context.get());
  for (const char* model : {"ride", "nobody", "ride"}) {
    serving::StreamPredictRequest message;
    *message.mutable_request() = Row(model, {1, 2, 3, 4});
    talk->Write(message);
  }
  talk->WritesDone();
  serving::StreamPredictResponse response;
  std::string answers;
  while (talk->Read(&response)) {
    answers += answers.empty() ? "" : ", ";
    answers += response.has_prediction() ? Scores(response.prediction()) : Said(response.error());
  }
  Must(talk->Finish());
  std::cout << "stream: " << answers << std::endl;
}

outcomes::Outcome Late() {
  outcomes::Outcome outcome;
  outcome.set_name("late");
  outcome.set_value(1);
  return outcome;
}

void Acknowledge(const Gateway& gateway) {
  const auto context = gateway.Call();
  const auto talk = gateway.outcomes->StreamOutcomes(context.get());
  outcomes::Outcome late = Late();
  late.set_unit_id("d3");
  late.set_outcome_id("1");
  outcomes::StreamOutcomesRequest message;
  *message.add_outcomes() = late;
  *message.add_outcomes() = late;
  talk->Write(message);
  talk->WritesDone();
  outcomes::StreamOutcomesResponse response;
  while (talk->Read(&response)) std::cout << "stream of outcomes: " << response.results_size() << " acknowledged" << std::endl;
  Must(talk->Finish());
}

void Record(const Gateway& gateway, const std::string& request_id) {
  outcomes::RecordOutcomesRequest request;
  *request.add_outcomes() = Late();
  *request.add_outcomes() = Late();
  request.mutable_outcomes(0)->set_request_id(request_id);
  request.mutable_outcomes(1)->set_request_id(request_id);
  request.mutable_outcomes(1)->clear_name();
  outcomes::RecordOutcomesResponse response;
  Must(gateway.outcomes->RecordOutcomes(gateway.Call().get(), request, &response));
  const bool recorded = response.results(0).status() == outcomes::OUTCOME_STATUS_RECORDED;
  const bool invalid = response.results(1).status() == outcomes::OUTCOME_STATUS_INVALID;
  std::cout << "outcome: " << (recorded ? "recorded" : "refused") << "; without a name "
            << (invalid ? "INVALID_ARGUMENT " : "? ") << response.results(1).reason() << std::endl;
}

void Tour(const Gateway& gateway) {
  serving::PredictRequest basel;
  basel.set_model("ride");
  basel.set_unit_id("d3");
  (*basel.mutable_entities())["driver"] = "d3";
  (*basel.mutable_entities())["city"] = "basel";
  (*basel.mutable_features())["hour"] = 7;
  serving::PredictResponse answer;
  Must(Predict(gateway, basel, &answer));
  std::cout << "entity: " << Scores(answer);
  for (const auto& view : answer.feature_status()) {
    std::cout << " " << serving::ViewStatus_Name(view.status()).substr(sizeof "VIEW_STATUS_" - 1);
  }
  std::cout << std::endl;
  const std::string request_id = answer.request_id();
  Must(Predict(gateway, Row("ride", {1, 2, 3, 4}), &answer));
  std::cout << "tensor: " << Scores(answer) << std::endl;
  Batch(gateway);
  Stream(gateway);
  Acknowledge(gateway);
  Record(gateway, request_id);
  std::cout << "missing: " << Refusal(gateway, Row("nobody", {1, 2, 3, 4})) << std::endl;
  std::cout << "invalid: " << Refusal(gateway, Row("ride", {1, 2, 3})) << std::endl;
  serving::PredictRequest slow;
  slow.set_model("slow");
  slow.set_unit_id("u");
  Input(&slow, "times", turnout::tensor::v1::DATA_TYPE_INT64, std::vector<int64_t>{2000}, {1});
  std::cout << "deadline: " << CodeName(Predict(gateway, slow, &answer, milliseconds(100)).error_code()) << std::endl;
}

// Makes calls until there is the file, and says when a hundred are answered: then a gateway may be killed.
void Load(const Gateway& gateway, const std::string& until) {
  std::atomic<int> done{0};
  std::atomic<int> failed{0};
  std::mutex lock;
  std::set<int64_t> versions;
  std::vector<std::thread> lanes;
  for (int number = 0; number < 4; number++) {
    lanes.emplace_back([&] {
      while (!std::filesystem::exists(until)) {
        serving::PredictResponse answer;
        const grpc::Status status = Predict(gateway, Row("ride", {1, 2, 3, 4}), &answer, kPatience);
        {
          const std::lock_guard<std::mutex> held(lock);
          if (status.ok()) {
            versions.insert(answer.version());
          } else {
            failed++;
            std::cerr << status.error_code() << " " << status.error_message() << "\n";
          }
        }
        if (++done == 100) std::cout << "under load" << std::endl;
      }
    });
  }
  for (auto& lane : lanes) lane.join();
  std::cout << "load: " << failed << " failed, versions";
  for (const int64_t version : versions) std::cout << " " << version;
  std::cout << std::endl;
}

}  // namespace

int main(int count, char** arguments) {
  const Gateway gateway;
  if (count > 2) {
    Load(gateway, arguments[2]);
  } else {
    Tour(gateway);
  }
}
