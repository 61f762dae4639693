/**
 * Whether a picture is scored by the model, by the baseline or by nobody; each result says which it was.
 *
 * Two kinds of failure are kept apart. A model that cannot be loaded or run is answered as `withoutModel`
 * says, with a reason in the log. A picture that cannot be decoded is an error of that picture, in every
 * mode: a score for something that is no picture is of no use.
 */
import { availableParallelism } from 'node:os';

import { decode, type ImageFormat, type ImageSource, type Pixels } from './decode.js';
import { ImageError, ModelError } from './errors.js';
import { Model, modelFiles, type ModelInfo, type TargetType } from './model.js';
import { BASELINE_VERSION, baselineScore, scoreOf, type Score, type Webcam } from './score.js';
import { Turns } from './turns.js';

export type Mode = 'baseline' | 'onnx';

export interface ScorerOptions {
  /** `baseline` if left out. */
  mode?: Mode | undefined;
  /** The ONNX file, for mode `onnx`; model.meta.json lies beside it. */
  modelPath?: string | undefined;
  /** The version that the file must have; if left out, the scorer follows what the path leads to. */
  modelVersion?: string | undefined;
  /** What a picture gets while no model speaks in mode `onnx`; `baseline` if left out. */
  withoutModel?: 'baseline' | 'unscored' | undefined;
  /** How many pictures are decoded or scored at a time; the others wait. One for each core if left out. */
  concurrency?: number | undefined;
  /** Threads of one run of the model; 1 if left out: more take more of the processor than they give. */
  threads?: number | undefined;
  /** Where warnings go; `console.warn` if left out. */
  warn?: ((message: string) => void) | undefined;
}

export interface ImageInfo {
  /** Columns and rows after the EXIF orientation was applied. */
  width: number;
  height: number;
  format: ImageFormat;
}

/** A picture that was decoded, and what came of it. */
export type Scored =
  /** `heads` has the score of each head, `score` among them. */
  | { path: 'onnx'; score: Score; heads: Heads; model: ModelInfo; reason: null; image: ImageInfo }
  /** `reason` says why no model spoke; null in mode `baseline`. */
  | { path: 'baseline'; score: Score; heads: Heads; model: null; reason: string | null; image: ImageInfo }
  | { path: 'unscored'; score: null; heads: Heads; model: null; reason: string; image: ImageInfo };

/** By target type; of a file with one head one, and none where no model spoke. */
export type Heads = Partial<Record<TargetType, Score>>;

/** One picture of many. */
export interface Item {
  image: ImageSource;
  /** What the baseline knows of it; the model does not look at this. */
  webcam?: Webcam | undefined;
}

/** What the scorer uses at a time; replaced as a whole, so that no call sees half of two. */
interface Live {
  files: string;
  model: Model | null;
  /** Why there is no model; null if there is one, and in mode `baseline`. */
  reason: string | null;
}

const WAITING_PER_TURN = 4;

export class Scorer {
  readonly #options: ScorerOptions;
  readonly #threads: number;
  readonly #turns: Turns;
  readonly #warned = new Set<string>();
  #live: Live = { files: '', model: null, reason: null };
  #loading: Promise<void> | null = null;

  private constructor(options: ScorerOptions) {
    const { mode, concurrency = availableParallelism(), threads = 1 } = options;
    if (mode !== undefined && mode !== 'baseline' && mode !== 'onnx') {
      throw new Error(`AI_SCORING_MODE is '${mode}'; it can be baseline or onnx, and is baseline if unset`);
    }
    for (const [name, count] of Object.entries({ concurrency, threads })) {
      if (!Number.isInteger(count) || count < 1) {
        throw new RangeError(`${name} is ${count}; a whole number from 1 on is needed`);
      }
    }
    this.#options = options;
    this.#threads = threads;
    this.#turns = new Turns(concurrency);
  }

  /**
   * Makes a scorer with its model loaded and warm.
   *
   * A model that cannot be used is no error here: `withoutModel` speaks, and `reason` says why.
   *
   * @throws Error: an option that makes no sense.
   */
  static async create(options: ScorerOptions = {}): Promise<Scorer> {
    const scorer = new Scorer(options);
    await scorer.#follow();
    return scorer;
  }

  /**
   * Makes the scorer that AI_SCORING_MODE, AI_ONNX_MODEL_PATH and AI_MODEL_VERSION describe; a variable
   * that is set to nothing counts as unset.
   *
   * @throws Error: AI_SCORING_MODE is neither `baseline` nor `onnx`.
   */
  static fromEnv(
    options: Omit<ScorerOptions, 'mode' | 'modelPath' | 'modelVersion'> = {},
    env: NodeJS.ProcessEnv = process.env,
  ): Promise<Scorer> {
    return Scorer.create({
      ...options,
      mode: (env['AI_SCORING_MODE'] || undefined) as Mode | undefined,
      modelPath: env['AI_ONNX_MODEL_PATH'] || undefined,
      modelVersion: env['AI_MODEL_VERSION'] || undefined,
    });
  }

  /** The model that is loaded; null in mode `baseline` and while none could be loaded. */
  get model(): ModelInfo | null {
    return this.#live.model?.info ?? null;
  }

  /** Why no model is loaded although one is asked for; null in all other cases. */
  get reason(): string | null {
    return this.#live.reason;
  }

  /**
   * Scores one picture.
   *
   * @throws ImageError: the picture cannot be used.
   */
  async score(image: ImageSource, webcam?: Webcam): Promise<Scored> {
    const live = await this.#held();
    try {
      return await this.#scored(live, image, webcam);
    } finally {
      await live.model?.letGo();
    }
  }

  /**
   * Scores many pictures by one model, also if another goes live meanwhile.
   *
   * Gives in order a result for each or the error that is its own, and takes pictures only as the work
   * proceeds.
   */
  async *scoreMany(items: Iterable<Item> | AsyncIterable<Item>): AsyncGenerator<Scored | ImageError> {
    const live = await this.#held();
    const waiting: Promise<Scored | ImageError>[] = [];
    try {
      for await (const { image, webcam } of items) {
        const result = this.#scored(live, image, webcam).catch(itsOwnError);
        result.catch(() => undefined); // what is thrown is thrown when its turn has come
        waiting.push(result);
        const [first] = waiting;
        if (first && waiting.length >= WAITING_PER_TURN * this.#turns.most) {
          yield await first;
          waiting.shift();
        }
      }
      while (waiting[0]) {
        yield await waiting[0];
        waiting.shift();
      }
    } finally {
      await Promise.allSettled(waiting);
      await live.model?.letGo();
    }
  }

  async #scored(live: Live, image: ImageSource, webcam: Webcam | undefined): Promise<Scored> {
    return this.#turns.take(async () => {
      const pixels = await decode(image); // what this throws is the picture's error
      let { reason } = live;
      if (live.model) {
        try {
          const raw = await live.model.run(pixels);
          const { info } = live.model;
          const heads: Heads = {};
          for (const { targetType, modelVersion } of info.heads) {
            heads[targetType] = scoreOf(raw.get(targetType) ?? NaN, modelVersion);
          }
          const score = heads[info.targetType];
          if (!score) throw new Error(`${info.modelVersion} is none of its file's heads`);
          return { path: 'onnx', score, heads, model: info, reason: null, image: imageInfo(pixels) };
        } catch (error) {
          if (!(error instanceof ModelError)) throw error;
          reason = error.message;
          this.#warn('run', `${this.#without()}: ${reason}`);
        }
      }
      if (reason !== null && this.#options.withoutModel === 'unscored') {
        return { path: 'unscored', score: null, heads: {}, model: null, reason, image: imageInfo(pixels) };
      }
      const score = baselineScore(webcam);
      return { path: 'baseline', score, heads: {}, model: null, reason, image: imageInfo(pixels) };
    });
  }

  /** What is live now, its model held: who gets it lets it go. */
  async #held(): Promise<Live> {
    await this.#follow();
    this.#live.model?.hold();
    return this.#live;
  }

  /** Loads what the path leads to, if these are other files than before. */
  async #follow(): Promise<void> {
    if (this.#options.mode !== 'onnx') return;
    const { modelPath } = this.#options;
    const files = modelPath ? await modelFiles(modelPath) : 'AI_ONNX_MODEL_PATH is not set';
    // Whoever notices loads, and everybody else goes on with what there is.
    if (!this.#loading && files !== this.#live.files) {
      this.#loading = this.#load(files).finally(() => {
        this.#loading = null;
      });
      await this.#loading;
    }
  }

  async #load(files: string): Promise<void> {
    const before = this.#live;
    try {
      const model = await this.#loaded();
      this.#live = { files, model, reason: null };
      this.#warned.clear();
      await before.model?.retire();
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      // One that was live and verified goes on under its own name.
      this.#live = { files, model: before.model, reason: before.model ? null : error.message };
      const instead = before.model
        ? `${before.model.info.modelVersion} goes on, although the path leads to other files`
        : this.#without();
      this.#warn(`load ${error.message}`, `${instead}: ${error.message}`);
    }
  }

  async #loaded(): Promise<Model> {
    const { modelPath, modelVersion } = this.#options;
    if (!modelPath) throw new ModelError('AI_SCORING_MODE is onnx, but AI_ONNX_MODEL_PATH names no model');
    const model = await Model.load(modelPath, { threads: this.#threads });
    if (modelVersion && modelVersion !== model.info.modelVersion) {
      await model.retire();
      throw new ModelError(
        `AI_MODEL_VERSION asks for ${modelVersion}, but the model at ${modelPath} is ` +
          `${model.info.modelVersion}; set both to the same model, or leave AI_MODEL_VERSION unset`,
      );
    }
    return model;
  }

  #without(): string {
    return this.#options.withoutModel === 'unscored'
      ? 'pictures stay unscored'
      : `scoring falls back to ${BASELINE_VERSION}`;
  }

  /** Warns once of a cause, until another model is loaded. */
  #warn(cause: string, message: string): void {
    if (this.#warned.has(cause)) return;
    this.#warned.add(cause);
    (this.#options.warn ?? console.warn)(message);
  }
}

function itsOwnError(error: unknown): ImageError {
  if (error instanceof ImageError) return error;
  throw error;
}

function imageInfo({ width, height, format }: Pixels): ImageInfo {
  return { width, height, format };
}
