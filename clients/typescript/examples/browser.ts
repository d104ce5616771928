import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { detailsOf } from "turnout-client/web";
import { OutcomeService } from "turnout-client/web/turnout/outcomes/v1/outcome_service_pb.js";
import { PredictionService } from "turnout-client/web/turnout/serving/v1/prediction_service_pb.js";
import { DataType } from "turnout-client/web/turnout/tensor/v1/tensor_pb.js";

const token = sessionStorage.getItem("token");
const transport = createConnectTransport({
  baseUrl: sessionStorage.getItem("gateway") ?? "http://127.0.0.1:8002",
  defaultTimeoutMs: 10_000,
  interceptors: [(next) => (request) => {
    if (token) request.header.set("Authorization", `Bearer ${token}`);
    return next(request);
  }],
});
try {
  const data = new Uint8Array(Float32Array.of(5.1, 3.5, 1.4, 0.2).buffer);
  const flower = { name: "flower", dataType: DataType.FLOAT32, shape: [1n, 4n], data };
  const answer = await createClient(PredictionService, transport).predict({ model: "iris", unitId: "flower-1", inputs: [flower] });
  const chances = answer.outputs.find((output) => output.name === "probabilities")!.data;
  const virginica = new Float32Array(chances.slice().buffer)[1]!;
  document.body.textContent = `version ${answer.version}: a virginica by ${virginica.toFixed(3)}`;
  const outcome = { name: "virginica", value: 0, requestId: answer.requestId };
  await createClient(OutcomeService, transport).recordOutcomes({ outcomes: [outcome] });
} catch (error) {
  const refusal = ConnectError.from(error);
  document.body.textContent = `${detailsOf(refusal).reason}: ${refusal.rawMessage}`;
}
