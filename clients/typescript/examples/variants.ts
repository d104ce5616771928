// What OpenFeature's SDK says of units, by Turnout's provider: `variants FLAG ...` takes an evaluation context as JSON on
// each line, and answers each with the details of every flag.
import { createInterface } from "node:readline";

import { OpenFeature } from "@openfeature/server-sdk";
import { TurnoutProvider } from "turnout-client/openfeature";

const AT_ONCE = 32;

await OpenFeature.setProviderAndWait(new TurnoutProvider()); // TURNOUT_SERVER, else 127.0.0.1:8003
const flags = process.argv.slice(2);
const client = OpenFeature.getClient();
let asked: Promise<string>[] = [];
for await (const line of createInterface({ input: process.stdin })) {
  asked.push(Promise.all(flags.map((flag) => client.getStringDetails(flag, "", JSON.parse(line)))).then((told) => JSON.stringify(told)));
  if (asked.length === AT_ONCE) await tell();
}
await tell();
await OpenFeature.close();

async function tell() {
  for (const told of await Promise.all(asked)) console.log(told);
  asked = [];
}
