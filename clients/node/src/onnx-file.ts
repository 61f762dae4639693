/**
 * What an ONNX file says and refers to, read without running it.
 *
 * onnxruntime resolves tensors in other files even for a model that is handed over as bytes, knows
 * operators that no other runtime has, and shows Node neither the metadata nor, before 1.21, types and
 * shapes. So the file is walked: a protocol buffer, of which a few fields matter (onnx.proto, IR version 10).
 * Unknown fields are skipped, malformed ones refused.
 */
import { ModelError } from './errors.js';

/** Name, element type (TensorProto.DataType) and sizes of an input or output; -1 is a free size. */
export interface TensorInfo {
  name: string;
  type: number;
  shape: number[];
}

export interface OnnxFile {
  metadata: Map<string, string>;
  inputs: TensorInfo[];
  outputs: TensorInfo[];
}

type Message = 'model' | 'graph' | 'node' | 'attribute' | 'tensor' | 'sparse' | 'training';

// Which field of a message holds which message: everything that can hold a tensor or a node.
const CHILDREN: Record<Message, Record<number, Message>> = {
  model: { 7: 'graph', 20: 'training' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  tensor: {},
  sparse: { 1: 'tensor', 2: 'tensor' },
  training: { 1: 'graph', 2: 'graph' },
};
const MODEL_GRAPH = 7;
const MODEL_METADATA = 14;
const MODEL_FUNCTIONS = 25;
const GRAPH_INPUT = 11;
const GRAPH_OUTPUT = 12;
const NODE_OP_TYPE = 4;
const NODE_DOMAIN = 7;
const TENSOR_EXTERNAL_DATA = 13;
const TENSOR_DATA_LOCATION = 14;

/**
 * Reads what a model file says of itself, and refuses one whose behaviour the file alone does not
 * determine.
 *
 * @throws ModelError: tensors in other files, operators outside the ONNX standard, functions defined in
 *   the model (they may redefine an operator), or no ONNX file at all.
 */
export function readOnnxFile(data: Buffer): OnnxFile {
  const found: OnnxFile = { metadata: new Map(), inputs: [], outputs: [] };
  const pending: [Message, Buffer][] = [['model', data]];
  let graphs = 0;
  for (let next = pending.pop(); next; next = pending.pop()) {
    const [kind, message] = next;
    if (kind === 'graph') graphs += 1;
    let domain = '';
    let operator = '?';
    for (const { number, value, content } of fields(message)) {
      if (
        kind === 'tensor' &&
        (number === TENSOR_EXTERNAL_DATA || (number === TENSOR_DATA_LOCATION && value !== 0n))
      ) {
        throw new ModelError(
          'the model keeps tensors in another file, which its digest does not cover; ' +
            'export it with external_data=False',
        );
      }
      if (kind === 'model' && number === MODEL_FUNCTIONS) {
        throw new ModelError(
          'the model defines functions of its own; export it with functions inlined',
        );
      }
      if (!content) continue;
      if (kind === 'node' && number === NODE_DOMAIN) domain = content.toString();
      if (kind === 'node' && number === NODE_OP_TYPE) operator = content.toString();
      if (kind === 'model' && number === MODEL_METADATA) {
        found.metadata.set(text(content, 1), text(content, 2));
      }
      if (kind === 'model' && number === MODEL_GRAPH) {
        found.inputs = all(content, GRAPH_INPUT).map(tensorInfo);
        found.outputs = all(content, GRAPH_OUTPUT).map(tensorInfo);
      }
      const child = CHILDREN[kind][number];
      if (child) pending.push([child, content]);
    }
    if (domain !== '' && domain !== 'ai.onnx') {
      throw new ModelError(
        `the model uses the operator ${domain}::${operator}, which is not part of the ONNX ` +
          'standard; export it with standard operators only',
      );
    }
  }
  if (graphs === 0) throw new ModelError('the file holds no ONNX graph');
  return found;
}

/** ValueInfoProto → TypeProto → Tensor: element type, and the sizes of its TensorShapeProto. */
function tensorInfo(message: Buffer): TensorInfo {
  const tensor = one(one(message, 2), 1);
  const shape = all(one(tensor, 2), 1).map((size) => integer(size, 1) ?? -1);
  return { name: text(message, 1), type: integer(tensor, 1) ?? 0, shape };
}

function all(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  for (const field of fields(message)) {
    if (field.number === wanted && field.content) found.push(field.content);
  }
  return found;
}

/** Of a field that stands there twice the last counts. */
function one(message: Buffer, wanted: number): Buffer {
  return all(message, wanted).at(-1) ?? Buffer.alloc(0);
}

function text(message: Buffer, wanted: number): string {
  return one(message, wanted).toString();
}

function integer(message: Buffer, wanted: number): number | undefined {
  let found: number | undefined;
  for (const { number, value, content } of fields(message)) {
    if (number === wanted && !content) found = Number(value);
  }
  return found;
}

interface Field {
  number: number;
  value: bigint;
  /** The bytes of a length-delimited field. */
  content: Buffer | undefined;
}

/** Splits one message into its fields (protobuf.dev, "Encoding"). */
function* fields(message: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n && at < message.length; shift += 7n) {
      const byte = message[at] ?? 0;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new ModelError('the file is not an ONNX model, or it is cut short');
  };
  while (at < message.length) {
    const tag = varint();
    const field: Field = { number: Number(tag >> 3n), value: 0n, content: undefined };
    switch (tag & 7n) {
      case 0n:
        field.value = varint();
        break;
      case 1n:
        at += 8;
        break;
      case 2n: {
        const end = Number(varint()) + at;
        field.content = message.subarray(at, end);
        at = end;
        break;
      }
      case 5n:
        at += 4;
        break;
      default:
        throw new ModelError('the file is not an ONNX model, or it is damaged');
    }
    if (at > message.length || field.number === 0) {
      throw new ModelError('the file is not an ONNX model, or it is cut short');
    }
    yield field;
  }
}
