import { BinaryReader } from "@bufbuild/protobuf/wire";

/** What a refusal says beside its code and its sentence. */
export interface Details {
  /** What happened, machine-readable, for example `MODEL_NOT_SERVED`; empty where nothing says it. */
  reason: string;
  /** The values that matter, by name. */
  facts: Record<string, string>;
  /** When to try again, where the gateway says so. */
  retryAfterMs?: number;
}

// Status {repeated Any details = 3}, Any {string type_url = 1; bytes value = 2}, ErrorInfo {string reason = 1;
// map<string, string> metadata = 3}, RetryInfo {Duration retry_delay = 1}, Duration {int64 seconds = 1; int32 nanos = 2}

/** Returns what a serialized google.rpc.Status says. */
export function readStatus(status: Uint8Array): Details {
  const details = fields(status, 3).map((any) => ({
    type: text(fields(any, 1)[0]).replace(/.*\//, ""),
    value: fields(any, 2)[0] ?? new Uint8Array(),
  }));
  return readDetails(details);
}

/** Returns what details say, each with the name of its message. */
export function readDetails(details: { type: string; value: Uint8Array }[]): Details {
  const said: Details = { reason: "", facts: {} };
  for (const { type, value } of details) {
    if (type === "google.rpc.ErrorInfo") {
      said.reason = text(fields(value, 1)[0]);
      for (const entry of fields(value, 3)) said.facts[text(fields(entry, 1)[0])] = text(fields(entry, 2)[0]);
    } else if (type === "google.rpc.RetryInfo") {
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
