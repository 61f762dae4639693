/**
 * A model file that was checked before it was believed, and the session that runs it.
 *
 * The digest in model.meta.json covers every byte of model.onnx, the file refers to nothing outside
 * itself, both name the same version, inputs and outputs are those of the contract, and it has given a
 * number. A model that fails any of this never gets to speak.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';

import { InferenceSession, Tensor } from 'onnxruntime-node';

import type { Pixels } from './decode.js';
import { ModelError, saidBy } from './errors.js';
import { readRegularFile } from './files.js';
import { readOnnxFile, type OnnxFile, type TensorInfo } from './onnx-file.js';
import { BASELINE_VERSION } from './score.js';

export type TargetType = 'binary' | 'regression';

/** What answers one question. */
export interface Head {
  modelVersion: string;
  targetType: TargetType;
  /** The rawScore from which a binary model says yes; null for regression. */
  decisionThreshold: number | null;
}

/** What model.meta.json says of the model that spoke: of its first head, and of all. */
export interface ModelInfo extends Head {
  /** One, or in a file with both heads two. */
  heads: readonly Head[];
}

/** Of each head its raw score, 0 to 1. */
export type RawScores = Map<TargetType, number>;

const META_NAME = 'model.meta.json';
const META_SCHEMA_VERSION = 1;
const MAX_META_BYTES = 2 ** 20;
const MAX_MODEL_BYTES = 2 ** 31 - 1;
const FLOAT = 1;
const UINT8 = 2;

/** A loaded model; what holds it uses `hold` and `letGo`, and a retired one ends with its last holder. */
export class Model {
  readonly info: ModelInfo;
  readonly #session: InferenceSession;
  #holders = 0;
  #retired = false;

  private constructor(info: ModelInfo, session: InferenceSession) {
    this.info = info;
    this.#session = session;
  }

  /**
   * Checks a model file, loads it and lets it score a black picture, so that it is warm.
   *
   * @throws ModelError: the model may not or cannot be used.
   */
  static async load(modelPath: string, options: { threads: number }): Promise<Model> {
    // Resolved once: a promotion may swing the link between reading the two files.
    const file = await existing(modelPath);
    const data = await readModelPart(file, MAX_MODEL_BYTES);
    const info = verified(data, await readMeta(path.join(path.dirname(file), META_NAME)));
    const inside = readOnnxFile(data);
    const several = info.heads.length > 1 ? info.heads : [];
    requireContract(
      inside,
      several.map(({ targetType }) => targetType),
    );
    requireSameNames(inside.metadata, [
      ['model_version', info.modelVersion],
      ['target_type', info.targetType],
      ...several.map((head): [string, string] => [`${head.targetType}.model_version`, head.modelVersion]),
    ]);
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(data, {
        intraOpNumThreads: options.threads,
        executionProviders: ['cpu'],
        // What goes wrong arrives as an exception; onnxruntime would print it to stderr as well.
        logSeverityLevel: 4,
        // Otherwise the bytes themselves may choose another format, one that nobody has walked.
        extra: { session: { load_model_format: 'ONNX' } },
      });
    } catch (error) {
      throw new ModelError(`${file} cannot be loaded: ${saidBy(error)}`, { cause: error });
    }
    const model = new Model(info, session);
    try {
      await model.run({ data: Buffer.alloc(360 * 640 * 3), width: 640, height: 360 });
    } catch (error) {
      await session.release();
      throw error;
    }
    return model;
  }

  /**
   * Gives the raw scores of one picture of any size, in one run of the model.
   *
   * @throws ModelError: the model failed, or gave something else than numbers from 0 to 1.
   */
  async run(pixels: Pick<Pixels, 'data' | 'width' | 'height'>): Promise<RawScores> {
    const { modelVersion, heads } = this.info;
    const names = heads.map(({ targetType }, at) => (at ? `${targetType}_raw_score` : 'raw_score'));
    const image = new Tensor('uint8', pixels.data, [1, pixels.height, pixels.width, 3]);
    let outputs: InferenceSession.ReturnType;
    try {
      outputs = await this.#session.run({ image }, names);
    } catch (error) {
      throw new ModelError(`${modelVersion} failed while running: ${saidBy(error)}`, { cause: error });
    }
    const scores: RawScores = new Map();
    heads.forEach((head, at) => {
      const raw = outputs[names[at] ?? '']?.data[0];
      if (!(typeof raw === 'number' && raw >= 0 && raw <= 1)) {
        throw new ModelError(`${head.modelVersion} gave a raw_score outside 0 to 1, or none`);
      }
      scores.set(head.targetType, raw);
    });
    return scores;
  }

  hold(): void {
    this.#holders += 1;
  }

  async letGo(): Promise<void> {
    this.#holders -= 1;
    await this.#endIfUnused();
  }

  /** Frees its memory as soon as nobody holds it. */
  async retire(): Promise<void> {
    this.#retired = true;
    await this.#endIfUnused();
  }

  async #endIfUnused(): Promise<void> {
    if (this.#retired && this.#holders === 0) await this.#session.release();
  }
}

/** Says in a text which files a path leads to now; another text means that they were exchanged. */
export async function modelFiles(modelPath: string): Promise<string> {
  try {
    const file = await realpath(modelPath);
    const both = await Promise.all(
      [file, path.join(path.dirname(file), META_NAME)].map((one) => stat(one, { bigint: true })),
    );
    return [file, ...both.flatMap(({ dev, ino, size, mtimeNs }) => [dev, ino, size, mtimeNs])].join();
  } catch (error) {
    return saidBy(error);
  }
}

async function existing(modelPath: string): Promise<string> {
  try {
    const file = await realpath(modelPath);
    if (!(await stat(file)).isDirectory()) return file;
  } catch (error) {
    throw new ModelError(`there is no model at ${path.resolve(modelPath)}`, { cause: error });
  }
  throw new ModelError(
    `${modelPath} is a folder; name the file in it, ${path.join(modelPath, 'model.onnx')}`,
  );
}

async function readModelPart(file: string, maxBytes: number): Promise<Buffer> {
  try {
    return await readRegularFile(file, maxBytes);
  } catch (error) {
    throw new ModelError(`${file} cannot be read: ${saidBy(error)}`, { cause: error });
  }
}

async function readMeta(file: string): Promise<Record<string, unknown>> {
  if (!existsSync(file)) {
    throw new ModelError(
      `${file} is missing, so nothing says which model this is; copy ${META_NAME} together with the model`,
    );
  }
  const content = await readModelPart(file, MAX_META_BYTES);
  let meta: unknown;
  try {
    meta = JSON.parse(content.toString());
  } catch (error) {
    throw new ModelError(`${file} is not JSON: ${saidBy(error)}`, { cause: error });
  }
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) {
    throw new ModelError(`${file} holds no JSON object`);
  }
  return meta as Record<string, unknown>;
}

/** Compares the bytes of a model with what model.meta.json says about them. */
function verified(data: Buffer, meta: Record<string, unknown>): ModelInfo {
  const schema = meta['schema_version'];
  if (schema !== META_SCHEMA_VERSION) {
    throw new ModelError(
      `${META_NAME} has schema_version ${schema}; this runtime reads ${META_SCHEMA_VERSION}` +
        (typeof schema === 'number' && schema > META_SCHEMA_VERSION
          ? '; upgrade webcam-ml-scorer here'
          : ''),
    );
  }
  const digest = createHash('sha256').update(data).digest('hex');
  if (data.length !== meta['size'] || digest !== meta['sha256']) {
    throw new ModelError(
      `the model is not the one that ${META_NAME} describes: ${data.length} bytes with SHA-256 ` +
        `${digest.slice(0, 12)}…, described are ${meta['size']} bytes with ` +
        `${String(meta['sha256']).slice(0, 12)}…; it was damaged or changed, or the two files ` +
        'belong to different models',
    );
  }
  const first = head(meta);
  return { ...first, heads: heads(meta['heads'], first) };
}

function head(entry: Record<string, unknown>): Head {
  return {
    modelVersion: usableVersion(entry['model_version']),
    targetType: targetType(entry['target_type']),
    decisionThreshold: decisionThreshold(entry['decision_threshold']),
  };
}

function heads(listed: unknown, first: Head): readonly Head[] {
  if (listed === undefined || listed === null) return [first];
  const isObject = (one: unknown) => typeof one === 'object' && one !== null && !Array.isArray(one);
  if (!Array.isArray(listed) || !listed.every(isObject)) {
    throw new ModelError(`${META_NAME} has heads that are no list of objects`);
  }
  const found = listed.map((entry) => head(entry as Record<string, unknown>));
  const types = found.map(({ targetType }) => targetType);
  const [one] = found;
  if (
    found.length < 2 ||
    new Set(types).size < types.length ||
    one?.modelVersion !== first.modelVersion ||
    one.targetType !== first.targetType ||
    one.decisionThreshold !== first.decisionThreshold
  ) {
    throw new ModelError(
      `${META_NAME} lists the heads ${types.join(', ') || 'none'}; there must be two or more, of different ` +
        `target types, and the first must be ${first.modelVersion}. Let the file be composed again ` +
        '(materialize production_model)',
    );
  }
  return found;
}

function usableVersion(version: unknown): string {
  if (typeof version !== 'string' || version === '' || version.startsWith('baseline')) {
    throw new ModelError(
      `the model calls itself '${version}'; a model has a name, and ${BASELINE_VERSION} is the ` +
        'name of the score that needs no model',
    );
  }
  return version;
}

function targetType(name: unknown): TargetType {
  if (name === 'binary' || name === 'regression') return name;
  throw new ModelError(`the model has target_type '${name}'; binary and regression are known`);
}

function decisionThreshold(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw new ModelError(
    `${META_NAME} has decision_threshold ${String(value).slice(0, 40)} where a number from 0 to 1 is ` +
      'expected; export the model again',
  );
}

function requireSameNames(stamps: Map<string, string>, described: [string, string][]): void {
  for (const [key, beside] of described) {
    const inside = stamps.get(key);
    if (inside !== beside) {
      throw new ModelError(
        `the model says ${key} '${inside}', ${META_NAME} says '${beside}'; export the model again`,
      );
    }
  }
}

/**
 * Compares inputs and outputs with the contract: any batch, any size, RGB bytes. `several` are the target
 * types of a file with more than one head.
 */
function requireContract({ inputs, outputs }: OnnxFile, several: TargetType[]): void {
  const [image] = inputs;
  const [batch, height, width, channels] = image?.shape ?? [];
  if (
    inputs.length !== 1 ||
    image?.name !== 'image' ||
    image.type !== UINT8 ||
    image.shape.length !== 4 ||
    [batch, height, width].some((size) => size !== -1) ||
    channels !== 3
  ) {
    throw new ModelError(
      'the model must have the one input image, uint8 [batch, height, width, 3] with the first ' +
        `three sizes free; it has ${named(inputs)}`,
    );
  }
  const wanted = ['', ...several.map((one) => `${one}_`)].flatMap((of) => [
    `${of}raw_score`,
    `${of}ai_rating`,
  ]);
  for (const name of wanted) {
    const output = outputs.find((one) => one.name === name);
    if (outputs.length !== wanted.length || output?.type !== FLOAT || output.shape.length !== 1) {
      throw new ModelError(
        `the model must have the outputs ${wanted.join(' and ')}, float32 [batch]; it has ${named(outputs)}`,
      );
    }
  }
}

function named(tensors: TensorInfo[]): string {
  return tensors.map(({ name, shape }) => `${name} [${shape.join(', ')}]`).join(', ') || 'none';
}
