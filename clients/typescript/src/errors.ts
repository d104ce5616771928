import { type ServiceError, status } from "@grpc/grpc-js";

import type { PredictionError } from "../gen/turnout/serving/v1/prediction_service.js";
import { readStatus } from "./details.js";

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
  const known = details instanceof Buffer ? readStatus(details) : undefined;
  // A gateway always says why: what has no reason came from the network, or from here.
  const reason = known?.reason || (error.code === status.UNAVAILABLE ? "UNREACHABLE" : code);
  return new TurnoutError(code, reason, error.details || error.message, known?.facts, known?.retryAfterMs);
}

/** Returns why one of several predictions was not answered, as the call of its own would have failed. */
export function rowError(error: PredictionError): TurnoutError {
  return new TurnoutError(status[error.code] ?? "UNKNOWN", error.reason, error.message, Object.fromEntries(error.facts));
}
