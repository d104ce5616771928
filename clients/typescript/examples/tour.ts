/**
 * The tour: every kind of call against a gateway that the environment names, and what is answered. All clients print
 * the same. `tour load FILE` makes calls, four at a time, until there is that file, and says how many failed.
 */
import { existsSync } from "node:fs";

import { Metadata } from "@grpc/grpc-js";
import { context, ROOT_CONTEXT, trace, type Context, type ContextManager } from "@opentelemetry/api";

import { type Ask, Client, errorOf, outcomeOf, type Prediction, predictionOf, requestOf, rowError, tensorOf, TurnoutError } from "turnout-client";
import { StreamPredictResponse, BatchPredictResponse, ViewStatus } from "turnout-client/gen/turnout/serving/v1/prediction_service.js";
import { StreamOutcomesResponse } from "turnout-client/gen/turnout/outcomes/v1/outcome_service.js";

/** Holds one context, as OpenTelemetry's SDK would hold one for each task. */
class Held implements ContextManager {
  constructor(private readonly held: Context) {}
  active = () => this.held;
  with = <A extends unknown[], F extends (...args: A) => ReturnType<F>>(_: Context, call: F, self?: ThisParameterType<F>, ...args: A) =>
    call.call(self as ThisParameterType<F>, ...args);
  bind = <T>(_: Context, target: T) => target;
  enable = () => this;
  disable = () => this;
}

const row = (...values: number[]): Ask => ({
  unit: "u",
  alias: "champion",
  inputs: { x: { values: Float32Array.from(values), shape: [1, values.length] } },
});
const scores = (answer: Prediction) =>
  [...(answer.outputs.score!.values as Float32Array)].map((value) => Math.trunc(value * 1000)).join(" ");
const said = (error: TurnoutError) => `${error.code} ${error.reason}`;

async function refusal(call: Promise<unknown>): Promise<TurnoutError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof TurnoutError) return error;
    throw error;
  }
  throw new Error("the call was answered");
}

async function tour(client: Client): Promise<void> {
  const answer = await client.predict("ride", {
    entities: { driver: "d3", city: "basel" },
    features: { hour: 7 },
    unit: "d3",
  });
  const statuses = answer.views.map((view) => ViewStatus[view.status].replace("VIEW_STATUS_", ""));
  console.log("entity:", scores(answer), statuses.join(" "));
  console.log("tensor:", scores(await client.predict("ride", row(1, 2, 3, 4))));
  await batch(client);
  await stream(client);
  await acknowledge(client);
  const { requestId } = answer;
  await client.recordOutcome({ name: "late", value: 1, requestId });
  const nameless = await refusal(client.recordOutcome({ name: "", value: 1, requestId }));
  console.log("outcome: recorded; without a name", said(nameless));
  console.log("missing:", said(await refusal(client.predict("nobody", row(1, 2, 3, 4)))));
  console.log("invalid:", said(await refusal(client.predict("ride", row(1, 2, 3)))));
  const times = { values: BigInt64Array.of(2000n), shape: [1] };
  const late = client.predict("slow", { unit: "u", inputs: { times } }, { deadline: Date.now() + 100 });
  console.log("deadline:", (await refusal(late)).code);
}

async function batch(client: Client): Promise<void> {
  const request = {
    model: "ride", rows: 3, unitIds: ["a", "b", "c"], requestIds: ["", "two words", ""], pin: undefined,
    entities: [], eventTimesUs: [], attributes: [], features: [],
    inputs: [tensorOf("x", Float32Array.from({ length: 12 }, (_, at) => at + 1), [3, 4])],
  };
  const response = await new Promise<BatchPredictResponse>((resolve, reject) =>
    client.predictions.batchPredict(request, (error, answer) => (error ? reject(errorOf(error)) : resolve(answer))),
  );
  const refused = response.errors.map((one) => `${one.row} ${said(rowError(one.error!))}`);
  console.log("batch: rows", response.parts.flatMap((part) => part.rows).join(" "), "answered; refused", refused.join(", "));
}

async function stream(client: Client): Promise<void> {
  const talk = client.predictions.streamPredict(new Metadata(), { deadline: Date.now() + 20_000 });
  for (const model of ["ride", "nobody", "ride"]) {
    talk.write({ request: requestOf(model, row(1, 2, 3, 4)), timeoutMs: undefined });
  }
  talk.end();
  const answers = [];
  for await (const { result } of talk as AsyncIterable<StreamPredictResponse>) {
    answers.push(result?.$case === "prediction" ? scores(predictionOf(result.value)) : said(rowError(result!.value)));
  }
  console.log("stream:", answers.join(", "));
}

async function acknowledge(client: Client): Promise<void> {
  const talk = client.outcomes.streamOutcomes();
  const late = outcomeOf({ name: "late", value: 1, unit: "d3", id: "1" });
  talk.write({ outcomes: [late, late] });
  talk.end();
  for await (const { results } of talk as AsyncIterable<StreamOutcomesResponse>) {
    console.log("stream of outcomes:", results.length, "acknowledged");
  }
}

/** Makes calls until there is the file, and says when a hundred are answered: then a gateway may be killed. */
async function load(client: Client, until: string): Promise<void> {
  const versions = new Set<string>();
  let [done, failed] = [0, 0];
  const lane = async () => {
    while (!existsSync(until)) {
      try {
        // The first calls wait for connections, on a machine that does much else.
        const deadline = Date.now() + 60_000;
        versions.add((await client.predict("ride", row(1, 2, 3, 4), { deadline })).version.toString());
      } catch (error) {
        failed += 1;
        console.error(error);
      }
      if (++done === 100) console.log("under load");
    }
  };
  await Promise.all(Array.from({ length: 4 }, lane));
  console.log(`load: ${failed} failed, versions ${[...versions].sort().join(" ")}`);
}

const client = new Client(); // the environment says where, and with which token
const [mode, until = ""] = process.argv.slice(2);
try {
  if (mode === "load") {
    await load(client, until);
  } else {
    const traceId = process.env.TOUR_TRACE;
    if (traceId !== undefined) {
      const span = { traceId, spanId: "00000000000000aa", traceFlags: 1 };
      context.setGlobalContextManager(new Held(trace.setSpanContext(ROOT_CONTEXT, span)));
    }
    await tour(client);
  }
} finally {
  client.close();
}
