import { Client, TurnoutError } from "turnout-client";

const client = new Client(); // TURNOUT_DATA_SERVER, else 127.0.0.1:8001
try {
  const flower = { values: Float32Array.of(5.1, 3.5, 1.4, 0.2), shape: [1, 4] };
  const answer = await client.predict("iris", { unit: "flower-1", inputs: { flower } });
  const chances = answer.outputs.probabilities?.values as Float32Array;
  console.log(`version ${answer.version}: a virginica by ${chances[1]?.toFixed(3)}`);
  await client.recordOutcome({ name: "virginica", value: 0, requestId: answer.requestId });
} catch (error) {
  if (!(error instanceof TurnoutError)) throw error;
  console.error(`${error.reason}: ${error.sentence}`);
  process.exitCode = 1;
} finally {
  client.close();
}
