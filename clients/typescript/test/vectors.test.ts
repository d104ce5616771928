import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Client, elementsOf, type Elements, Float16Bits, newRequestId, requestOf, tensorOf } from "../src/index.js";
import { PredictRequest } from "../gen/turnout/serving/v1/prediction_service.js";

interface Input {
  name: string;
  dtype: string;
  shape: string[];
  values: string[];
}

interface Vector {
  case: string;
  model: string;
  request_id: string;
  version?: string;
  alias?: string;
  unit_id?: string;
  event_time_us?: string;
  entities?: Record<string, string>;
  attributes?: Record<string, string>;
  features?: Record<string, string>;
  inputs?: Input[];
  bytes: string;
}

const KINDS: Record<string, (values: string[]) => Elements> = {
  BOOL: (values) => values.map((value) => value === "true"),
  INT8: (values) => Int8Array.from(values, Number),
  INT16: (values) => Int16Array.from(values, Number),
  INT32: (values) => Int32Array.from(values, Number),
  INT64: (values) => BigInt64Array.from(values.map(BigInt)),
  UINT8: (values) => Uint8Array.from(values, Number),
  UINT16: (values) => Uint16Array.from(values, Number),
  UINT32: (values) => Uint32Array.from(values, Number),
  UINT64: (values) => BigUint64Array.from(values.map(BigInt)),
  FLOAT16: (values) => Float16Bits.from(values, Number),
  FLOAT32: (values) => Float32Array.from(values, Number),
  FLOAT64: (values) => Float64Array.from(values, Number),
  STRING: (values) => values,
};

function inputsOf(inputs: Input[]) {
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape, values }) => [name, { values: KINDS[dtype]!(values), shape: shape.map(Number) }]),
  );
}

const vectors: Vector[] = JSON.parse(readFileSync(new URL("../../../vectors.json", import.meta.url), "utf8"));

test("there are vectors", () => assert.ok(vectors.length >= 20));

for (const one of vectors) {
  test(`the request ${one.case} is the bytes that all clients make`, () => {
    const request = requestOf(one.model, {
      requestId: one.request_id,
      version: one.version === undefined ? undefined : BigInt(one.version),
      alias: one.alias,
      unit: one.unit_id,
      eventTimeUs: one.event_time_us === undefined ? undefined : BigInt(one.event_time_us),
      entities: one.entities,
      attributes: one.attributes,
      features: Object.fromEntries(Object.entries(one.features ?? {}).map(([name, value]) => [name, Number(value)])),
      inputs: inputsOf(one.inputs ?? []),
    });
    assert.equal(Buffer.from(PredictRequest.encode(request).finish()).toString("hex"), one.bytes);
    for (const [at, input] of (one.inputs ?? []).entries()) {
      assert.deepEqual(elementsOf(request.inputs[at]!), KINDS[input.dtype]!(input.values));
    }
  });
}

test("tensors that are none are refused", () => {
  const whole = tensorOf("x", ["ab", "c"], [2]);
  for (let size = 0; size < whole.data.length; size++) {
    assert.throws(() => elementsOf({ ...whole, data: whole.data.subarray(0, size) }), RangeError);
  }
  assert.throws(() => elementsOf({ ...tensorOf("x", Int32Array.of(1, 2), [2]), shape: [3n] }), RangeError);
  assert.throws(() => elementsOf({ ...whole, dataType: 99 as never }), RangeError);
});

test("a token does not travel in clear", () => {
  for (const address of ["gateway.example:8001", "10.0.0.1:8001", "127.0.0.1:1,10.0.0.2:1", "dns:///gateway:1"]) {
    assert.throws(() => new Client(address, { token: "secret" }), /in clear/);
    new Client(address, { token: "secret", tls: true }).close();
  }
  for (const address of ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "127.0.0.1:1,127.0.0.2:1", "unix:/run/x"]) {
    new Client(address, { token: "secret" }).close();
  }
});

test("a version and an alias do not go together", () => {
  assert.throws(() => requestOf("m", { version: 1, alias: "champion" }), TypeError);
});

test("request ids are UUIDs of version 7", () => {
  assert.match(newRequestId(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(newRequestId(), newRequestId());
});
