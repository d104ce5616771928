/** For browsers, where Connect's own client calls the HTTP port: what a refusal says. Nothing here needs Node.js. */
import type { ConnectError } from "@connectrpc/connect";

import { type Details, readDetails } from "./details.js";

export type { Details } from "./details.js";

/** Returns what the error of a call says beside its code and its sentence. */
export function detailsOf(error: ConnectError): Details {
  return readDetails(error.details.filter((each) => "value" in each && each.value instanceof Uint8Array) as { type: string; value: Uint8Array }[]);
}
