import { DataType, type Tensor } from "../gen/turnout/tensor/v1/tensor.js";

/** Elements of type FLOAT16: the bits of IEEE 754 binary16. */
export class Float16Bits extends Uint16Array {}

/** What a tensor holds, row by row. The class is the element type. */
export type Elements =
  | boolean[]
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Float16Bits
  | Float32Array
  | Float64Array
  | string[];

const CLASSES = [
  [DataType.DATA_TYPE_INT8, Int8Array],
  [DataType.DATA_TYPE_INT16, Int16Array],
  [DataType.DATA_TYPE_INT32, Int32Array],
  [DataType.DATA_TYPE_INT64, BigInt64Array],
  [DataType.DATA_TYPE_UINT8, Uint8Array],
  [DataType.DATA_TYPE_FLOAT16, Float16Bits], // before the class that it is derived from
  [DataType.DATA_TYPE_UINT16, Uint16Array],
  [DataType.DATA_TYPE_UINT32, Uint32Array],
  [DataType.DATA_TYPE_UINT64, BigUint64Array],
  [DataType.DATA_TYPE_FLOAT32, Float32Array],
  [DataType.DATA_TYPE_FLOAT64, Float64Array],
] as const;

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
  throw new Error("tensors are little-endian, and this machine is not");
}

/** Returns elements as a tensor of a shape. An array of nothing is text; give a class for another type. */
export function tensorOf(name: string, values: Elements, extents: readonly number[]): Tensor {
  const shape = extents.map(BigInt);
  if (!Array.isArray(values)) {
    const [dataType] = CLASSES.find(([, kind]) => values instanceof kind)!;
    return { name, dataType, shape, data: Buffer.from(values.buffer, values.byteOffset, values.byteLength) };
  }
  if (typeof values[0] === "boolean") {
    return { name, dataType: DataType.DATA_TYPE_BOOL, shape, data: Buffer.from(values.map(Number)) };
  }
  const texts = (values as string[]).map((text) => Buffer.from(text, "utf8"));
  const parts = texts.flatMap((bytes) => [Buffer.from(Uint32Array.of(bytes.length).buffer), bytes]);
  return { name, dataType: DataType.DATA_TYPE_STRING, shape, data: Buffer.concat(parts) };
}

/** Returns a tensor's elements, or throws where its bytes are not what its shape and type take. */
export function elementsOf(tensor: Tensor): Elements {
  const count = Number(tensor.shape.reduce((product, extent) => product * extent, 1n));
  if (tensor.dataType === DataType.DATA_TYPE_STRING) return textsOf(tensor, count);
  const kind = CLASSES.find(([dataType]) => dataType === tensor.dataType)?.[1];
  if (kind === undefined && tensor.dataType !== DataType.DATA_TYPE_BOOL) {
    throw new RangeError(`${tensor.name} has the unknown element type ${tensor.dataType}`);
  }
  if (count * (kind?.BYTES_PER_ELEMENT ?? 1) !== tensor.data.length) {
    throw new RangeError(`${tensor.name} has ${tensor.data.length} bytes, which is not what its shape takes`);
  }
  const bytes = Uint8Array.from(tensor.data); // of its own, and so aligned
  return kind === undefined ? Array.from(bytes, Boolean) : new kind(bytes.buffer);
}

function textsOf({ name, data }: Tensor, count: number): string[] {
  const texts: string[] = [];
  let at = 0;
  while (texts.length < count) {
    const end = at + 4 <= data.length ? at + 4 + data.readUInt32LE(at) : Infinity;
    if (end > data.length) throw new RangeError(`${name} ends before its ${count} texts do`);
    texts.push(data.toString("utf8", at + 4, end));
    at = end;
  }
  return texts;
}
