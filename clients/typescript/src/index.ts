/**
 * Asks a Turnout gateway for predictions and records what happened later: a thin layer over the generated stubs below
 * gen/. Who is assigned to what is decided by the gateway alone.
 */
import { type CallOptions, Metadata } from "@grpc/grpc-js";

import { Outcome as OutcomeMessage, OutcomeResult, OutcomeServiceClient, OutcomeStatus } from "../gen/turnout/outcomes/v1/outcome_service.js";
import { PredictionServiceClient, PredictRequest, PredictResponse, ViewReading } from "../gen/turnout/serving/v1/prediction_service.js";
import { channelOf, newRequestId, type Settings } from "./connect.js";
import { errorOf, TurnoutError } from "./errors.js";
import { elementsOf, type Elements, tensorOf } from "./tensor.js";

export { newRequestId, type Settings } from "./connect.js";
export { errorOf, rowError, TurnoutError } from "./errors.js";
export { type Elements, elementsOf, Float16Bits, tensorOf } from "./tensor.js";

/** The version of this package and of the contract that it speaks. */
export const VERSION = "0.1.0";

/** A tensor: elements, row by row, and the extent of each dimension. */
export interface Array {
  values: Elements;
  shape: number[];
}

/** What a call for a prediction says, but for the model. */
export interface Ask {
  /** What stored features are looked up for: join key to value, for example `{ carrier: "UA" }`. */
  entities?: Record<string, string>;
  /** Features given by the caller; each wins over the stored value. */
  features?: Record<string, number>;
  /** The model's inputs by name, each of the element type that its signature says. */
  inputs?: Record<string, Array>;
  /** What is assigned and observed; left out with exactly one entity: that entity's value. */
  unit?: string;
  /** A pin: this version answers, and the call is in no experiment. At most one of the two. */
  version?: number | bigint;
  alias?: string;
  /** Facts that targeting and reports may use. */
  attributes?: Record<string, string>;
  /** When the event happened, in microseconds since the Unix epoch; left out: now. */
  eventTimeUs?: bigint;
  /** The prediction's identity; left out: made before the first try, so that a retry is the same prediction. */
  requestId?: string;
}

/** The answer to one call. */
export interface Prediction {
  /** The prediction's identity; outcomes refer to it. */
  requestId: string;
  model: string;
  version: bigint;
  /** The experiment that chose the version, and the variant; empty outside an experiment. */
  experiment: string;
  variant: string;
  /** The model's outputs by name. */
  outputs: Record<string, Array>;
  /** How the stored features came about, view by view. */
  views: ViewReading[];
}

/** Something that happened after a prediction. Recording one twice is harmless. */
export interface Outcome {
  /** What metrics refer to, for example `late`. */
  name: string;
  /** A finite number; a boolean is 0 or 1. `label` is a category in its place. */
  value?: number;
  label?: string;
  /** The prediction that it is an outcome of; or the unit whose latest earlier prediction is meant, with an `id`. */
  requestId?: string;
  unit?: string;
  id?: string;
  model?: string;
  eventTimeUs?: bigint;
  /** Corrects: of several outcomes with one subject, name and id the highest counts. */
  sequence?: bigint;
}

/** Returns the message that asks a model, for the stubs of streams. */
export function requestOf(model: string, ask: Ask): PredictRequest {
  if (ask.version !== undefined && ask.alias !== undefined) {
    throw new TypeError("a version and an alias are given: which of the two?");
  }
  return {
    model,
    pin:
      ask.version !== undefined
        ? { $case: "version", value: BigInt(ask.version) }
        : ask.alias !== undefined
          ? { $case: "alias", value: ask.alias }
          : undefined,
    entities: new Map(Object.entries(ask.entities ?? {})),
    features: new Map(Object.entries(ask.features ?? {})),
    attributes: new Map(Object.entries(ask.attributes ?? {})),
    inputs: Object.entries(ask.inputs ?? {}).map(([name, { values, shape }]) => tensorOf(name, values, shape)),
    unitId: ask.unit ?? "",
    eventTimeUs: ask.eventTimeUs,
    requestId: ask.requestId ?? newRequestId(),
  };
}

/** Returns the prediction that a message holds, for the stubs of streams. */
export function predictionOf(response: PredictResponse): Prediction {
  const { requestId, model, version, experiment, variant, featureStatus: views } = response;
  const outputs = Object.fromEntries(
    response.outputs.map((one) => [one.name, { values: elementsOf(one), shape: one.shape.map(Number) }]),
  );
  return { requestId, model, version, experiment, variant, outputs, views };
}

/** Returns an outcome as the stubs take it. */
export function outcomeOf(outcome: Outcome): OutcomeMessage {
  const { name, value = 0, label = "", id: outcomeId = "", model = "", eventTimeUs, sequence = 0n } = outcome;
  const subject: OutcomeMessage["subject"] =
    outcome.requestId !== undefined
      ? { $case: "requestId", value: outcome.requestId }
      : { $case: "unitId", value: outcome.unit ?? "" };
  return { subject, name, value, label, outcomeId, model, eventTimeUs, sequence };
}

/** Asks one gateway or several. It is made once, used by all, and closed at the end. */
export class Client {
  /** The stubs, for batches and streams. They share one channel, which is `predictions.getChannel()`. */
  readonly predictions: PredictionServiceClient;
  readonly outcomes: OutcomeServiceClient;

  /**
   * @param address `host:port`; a name that gRPC resolves (`dns:///name:port`); or several `IP:port` with commas between
   *   them, which take calls in turn. Empty: the one in TURNOUT_DATA_SERVER, else 127.0.0.1:8001.
   * @param settings What is not said there, TURNOUT_TOKEN, TURNOUT_TOKEN_FILE and TURNOUT_TLS_CA say.
   */
  constructor(address = "", settings: Settings = {}) {
    const { target, credentials, options } = channelOf(address, settings);
    this.predictions = new PredictionServiceClient(target, credentials, options);
    this.outcomes = new OutcomeServiceClient(target, credentials, {
      ...options,
      channelOverride: this.predictions.getChannel(),
    });
  }

  /** Ends the connection. */
  close(): void {
    this.predictions.close();
  }

  /** Returns one prediction, or rejects with a TurnoutError. */
  async predict(model: string, ask: Ask, options: CallOptions = {}): Promise<Prediction> {
    const request = requestOf(model, ask);
    const response = await new Promise<PredictResponse>((resolve, reject) => {
      this.predictions.predict(request, new Metadata(), options, (error, answer) =>
        error ? reject(errorOf(error)) : resolve(answer),
      );
    });
    return predictionOf(response);
  }

  /** Records one outcome; once this resolves, the outcome survives the death of every process. */
  async recordOutcome(outcome: Outcome, options: CallOptions = {}): Promise<void> {
    const request = { outcomes: [outcomeOf(outcome)] };
    const [result] = await new Promise<OutcomeResult[]>((resolve, reject) => {
      this.outcomes.recordOutcomes(request, new Metadata(), options, (error, answer) =>
        error ? reject(errorOf(error)) : resolve(answer.results),
      );
    });
    if (result?.status === OutcomeStatus.OUTCOME_STATUS_INVALID) {
      throw new TurnoutError("INVALID_ARGUMENT", result.reason, result.message);
    }
    if (result?.status !== OutcomeStatus.OUTCOME_STATUS_RECORDED) {
      throw new TurnoutError("UNAVAILABLE", result?.reason ?? "UNAVAILABLE", result?.message ?? "");
    }
  }
}
