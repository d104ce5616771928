/**
 * A provider for OpenFeature: a team that evaluates flags by its SDK reads the variants of Turnout's experiments.
 *
 * A flag is an experiment. Its string is the variant of the unit, which is the context's targeting key; its number is the
 * version that the variant serves; its object is all that is known of both. The gateway decides, as it does for
 * predictions: nothing is assigned here. It needs `@openfeature/server-sdk` beside this package.
 */
import {
  type EvaluationContext,
  FlagNotFoundError,
  GeneralError,
  type JsonValue,
  type Provider,
  type ResolutionDetails,
  StandardResolutionReasons,
  TargetingKeyMissingError,
  TypeMismatchError,
} from "@openfeature/server-sdk";
import type { ServiceError } from "@grpc/grpc-js";

import { ExperimentServiceClient, type GetAssignmentResponse } from "../gen/turnout/experiments/v1/experiment_service.js";
import { channelOf, type Settings } from "./connect.js";
import { errorOf } from "./errors.js";

const TIMEOUT_MS = 2_000;

/** Asks a gateway for each evaluation. */
export class TurnoutProvider implements Provider {
  readonly metadata = { name: "Turnout" } as const;
  readonly runsOn = "server";
  private readonly experiments: ExperimentServiceClient;

  /**
   * @param address The control port, as a client takes the data port. Empty: the one in TURNOUT_SERVER, else 127.0.0.1:8003.
   * @param settings As a client's; the token takes the role `read`. The deadline of an evaluation is 2 s unless given.
   */
  constructor(address = "", settings: Settings = {}) {
    address ||= process.env.TURNOUT_SERVER || "127.0.0.1:8003";
    const { target, credentials, options } = channelOf(address, { timeoutMs: TIMEOUT_MS, ...settings });
    this.experiments = new ExperimentServiceClient(target, credentials, options);
  }

  /** Ends the connection. */
  async onClose(): Promise<void> {
    this.experiments.close();
  }

  /** Resolves to the unit's variant; to the default for a unit that is not in the experiment. */
  async resolveStringEvaluation(flag: string, otherwise: string, context: EvaluationContext) {
    return detailsOf(await this.assignment(flag, context), otherwise, (found) => found.variant);
  }

  /** Resolves to the version that answers the unit; to the default for a unit that is not in the experiment. */
  async resolveNumberEvaluation(flag: string, otherwise: number, context: EvaluationContext) {
    return detailsOf(await this.assignment(flag, context), otherwise, (found) => Number(found.version));
  }

  /** Resolves to the variant, the version and the propensity; to the default for a unit that is not in the experiment. */
  async resolveObjectEvaluation<T extends JsonValue>(flag: string, otherwise: T, context: EvaluationContext) {
    return detailsOf(await this.assignment(flag, context), otherwise, ({ variant, version, propensity }) => {
      return { variant, version: Number(version), propensity } as JsonValue as T;
    });
  }

  /** Refuses: which of several variants would be true is nobody's to guess. */
  async resolveBooleanEvaluation(flag: string): Promise<ResolutionDetails<boolean>> {
    throw new TypeMismatchError(`the experiment '${flag}' has variants: ask for its string`);
  }

  private assignment(flag: string, context: EvaluationContext): Promise<GetAssignmentResponse> {
    const { targetingKey, ...rest } = context;
    if (!targetingKey) throw new TargetingKeyMissingError("the unit is the context's targeting key, and there is none");
    const texts = Object.entries(rest).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
    const attributes = new Map(texts.map(([name, value]) => [name, String(value)]));
    return new Promise((resolve, reject) => {
      const request = { name: `experiments/${flag}`, unitId: targetingKey, attributes };
      this.experiments.getAssignment(request, (error, found) => (error ? reject(refusalOf(error)) : resolve(found)));
    });
  }
}

function detailsOf<T>(found: GetAssignmentResponse, otherwise: T, value: (found: GetAssignmentResponse) => T): ResolutionDetails<T> {
  const { variant, version, bucket, epoch, propensity, explanation } = found;
  return {
    value: variant ? value(found) : otherwise,
    ...(variant && { variant }),
    reason: variant ? StandardResolutionReasons.SPLIT : StandardResolutionReasons.DEFAULT,
    flagMetadata: { explanation, version: Number(version), bucket, epoch: Number(epoch), propensity },
  };
}

function refusalOf(error: ServiceError) {
  const { code, message } = errorOf(error);
  return code === "NOT_FOUND" ? new FlagNotFoundError(message) : new GeneralError(message);
}
