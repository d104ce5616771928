#include <grpcpp/grpcpp.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "turnout/outcomes/v1/outcome_service.grpc.pb.h"
#include "turnout/serving/v1/prediction_service.grpc.pb.h"

int main() {
  const char* address = std::getenv("TURNOUT_DATA_SERVER");
  auto channel = grpc::CreateChannel(address ? address : "127.0.0.1:8001", grpc::InsecureChannelCredentials());
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(10);

  turnout::serving::v1::PredictRequest ask;
  ask.set_model("iris");
  ask.set_unit_id("flower-1");
  auto* flower = ask.add_inputs();
  flower->set_name("flower");
  flower->set_data_type(turnout::tensor::v1::DATA_TYPE_FLOAT32);
  for (int64_t extent : {1, 4}) flower->add_shape(extent);
  for (float value : {5.1f, 3.5f, 1.4f, 0.2f}) flower->mutable_data()->append(reinterpret_cast<char*>(&value), 4);
  turnout::serving::v1::PredictResponse answer;
  grpc::ClientContext asking, recording;
  asking.set_deadline(deadline);
  grpc::Status said = turnout::serving::v1::PredictionService::NewStub(channel)->Predict(&asking, ask, &answer);
  if (!said.ok()) return std::fprintf(stderr, "%s\n", said.error_message().c_str()), 1;
  float chances[2];
  for (const auto& output : answer.outputs())
    if (output.name() == "probabilities") std::memcpy(chances, output.data().data(), sizeof chances);
  std::printf("version %ld: a virginica by %.3f\n", static_cast<long>(answer.version()), chances[1]);
  turnout::outcomes::v1::RecordOutcomesRequest record;
  auto* outcome = record.add_outcomes();
  outcome->set_name("virginica");  // its value is 0
  outcome->set_request_id(answer.request_id());
  turnout::outcomes::v1::RecordOutcomesResponse recorded;
  recording.set_deadline(deadline);
  return turnout::outcomes::v1::OutcomeService::NewStub(channel)->RecordOutcomes(&recording, record, &recorded).ok() ? 0 : 1;
}
