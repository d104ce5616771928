import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";

import * as grpc from "@grpc/grpc-js";
import { context, trace } from "@opentelemetry/api";

/** What a client is made with beside the address. */
export interface Settings {
  /** The token, shown with every call; or a file with the token as its only line. */
  token?: string;
  tokenFile?: string;
  /** Whether the gateway speaks TLS; it does where `ca` is given. */
  tls?: boolean;
  /** A PEM file: the authority that alone is trusted. */
  ca?: string;
  /** The deadline of a call that names none of its own, in milliseconds; retries are within it. */
  timeoutMs?: number;
  /** Options of gRPC's own, as they are. */
  options?: grpc.ClientOptions;
}

const TIMEOUT_MS = 10_000;
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

// Calls go round the gateways, and the channel itself tries again what ended with UNAVAILABLE, and nothing else.
const SERVICE_CONFIG = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 3,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

/** Returns what the stubs are made with, or throws when a token would travel in clear. */
export function channelOf(address: string, settings: Settings) {
  const { TURNOUT_DATA_SERVER, TURNOUT_TOKEN, TURNOUT_TOKEN_FILE, TURNOUT_TLS_CA } = process.env;
  address ||= TURNOUT_DATA_SERVER || "127.0.0.1:8001";
  const ca = settings.ca ?? (TURNOUT_TLS_CA || undefined);
  const file = settings.tokenFile ?? (TURNOUT_TOKEN_FILE || undefined);
  const token = settings.token ?? (file === undefined ? TURNOUT_TOKEN : readFileSync(file, "ascii").trim());
  const tls = settings.tls ?? ca !== undefined;
  if (token && !tls && !isLocal(address)) {
    throw new Error("the token would travel in clear: say by `tls` or `ca` how the gateway is known");
  }
  const several = address.includes(",");
  return {
    target: several ? `${address.startsWith("[") ? "ipv6" : "ipv4"}:${address}` : address,
    credentials: tls
      ? grpc.credentials.createSsl(ca === undefined ? null : readFileSync(ca))
      : grpc.credentials.createInsecure(),
    options: {
      "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
      "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
      "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2000,
      "grpc.use_local_subchannel_pool": 1,
      interceptors: [preparing(token, settings.timeoutMs ?? TIMEOUT_MS)],
      ...settings.options,
    } satisfies grpc.ClientOptions,
  };
}

/** Gives each call a deadline unless it is a stream or has one, the token, and the W3C trace context of the current span. */
function preparing(token: string | undefined, timeoutMs: number): grpc.Interceptor {
  return (options, next) => {
    const { requestStream, responseStream } = options.method_definition;
    const late = requestStream || responseStream ? undefined : Date.now() + timeoutMs;
    return new grpc.InterceptingCall(next({ ...options, deadline: options.deadline ?? late }), {
      start(metadata, listener, start) {
        if (token) metadata.set("authorization", `Bearer ${token}`);
        const span = trace.getSpanContext(context.active());
        if (span !== undefined) {
          const flags = span.traceFlags.toString(16).padStart(2, "0");
          metadata.set("traceparent", `00-${span.traceId}-${span.spanId}-${flags}`);
          if (span.traceState !== undefined) metadata.set("tracestate", span.traceState.serialize());
        }
        start(metadata, listener);
      },
    });
  };
}

function isLocal(address: string): boolean {
  if (address.startsWith("unix:")) return true;
  return address
    .replace(/^dns:\/\/\//, "")
    .split(",")
    .map((one) => one.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"))
    .every((host) => host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127.")));
}

/** Returns an identity for a prediction: a UUID of version 7, which sorts by time. */
export function newRequestId(): string {
  const id = randomFillSync(Buffer.alloc(16));
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6]! & 0x0f) | 0x70;
  id[8] = (id[8]! & 0x3f) | 0x80;
  const text = id.toString("hex");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
