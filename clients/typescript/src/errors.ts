import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type ServiceError, status } from "@grpc/grpc-js";

import type { PredictionError } from "../gen/turnout/serving/v1/prediction_service.js";

/** Why a call was not answered. The code says what a caller can do, the reason exactly what happened. */
export class TurnoutError extends Error {
  /**
   * @param code The gRPC status code's name, for example `NOT_FOUND`.
   * @param reason Machine-readable, for example `MODEL_NOT_SERVED`; `UNREACHABLE` where no gateway answered.
   * @param sentence What is wrong and what to do about it.
   * @param facts The values that matter, by name.
   * @param retryAfterMs When to try again, where the gateway says so.
   */
  constructor(
    readonly code: string,
    readonly reason: string,
    readonly sentence: string,
    readonly facts: Record<string, string> = {},
    readonly retryAfterMs?: number,
  ) {
    super(`${reason}: ${sentence}`);
    this.name = "TurnoutError";
  }
}

/** Returns the error that a failed call of a stub stands for, with the reason from its google.rpc.ErrorInfo. */
export function errorOf(error: ServiceError): TurnoutError {
  const code = status[error.code] ?? "UNKNOWN";
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const known = details instanceof Buffer ? read(details) : undefined;
  // A gateway always says why: what has no reason came from the network, or from here.
  const reason = known?.reason || (error.code === status.UNAVAILABLE ? "UNREACHABLE" : code);
  return new TurnoutError(code, reason, error.details || error.message, known?.facts, known?.retryAfterMs);
}

/** Returns why one of several predictions was not answered, as the call of its own would have failed. */
export function rowError(error: PredictionError): TurnoutError {
  return new TurnoutError(status[error.code] ?? "UNKNOWN", error.reason, error.message, Object.fromEntries(error.facts));
}

// Status {repeated Any details = 3}, Any {string type_url = 1; bytes value = 2}, ErrorInfo {string reason = 1;
// map<string, string> metadata = 3}, RetryInfo {Duration retry_delay = 1}, Duration {int64 seconds = 1; int32 nanos = 2}
function read(details: Uint8Array) {
  const said = { reason: "", facts: {} as Record<string, string>, retryAfterMs: undefined as number | undefined };
  for (const any of fields(details, 3)) {
    const type = text(fields(any, 1)[0]);
    const value = fields(any, 2)[0] ?? new Uint8Array();
    if (type.endsWith("/google.rpc.ErrorInfo")) {
      said.reason = text(fields(value, 1)[0]);
      for (const entry of fields(value, 3)) said.facts[text(fields(entry, 1)[0])] = text(fields(entry, 2)[0]);
    } else if (type.endsWith("/google.rpc.RetryInfo")) {
      const reader = new BinaryReader(fields(value, 1)[0] ?? new Uint8Array());
      said.retryAfterMs = 0;
      while (reader.pos < reader.len) {
        const [number] = reader.tag();
        said.retryAfterMs += Number(reader.int64()) * (number === 1 ? 1000 : 1e-6);
      }
    }
  }
  return said;
}

/** Returns the values of a message's field that have a length. */
function fields(message: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === wanted && type === 2) found.push(reader.bytes());
    else reader.skip(type, number);
  }
  return found;
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}
