/** Scores pictures with the live model of webcam-ml, as its Python runtime does; see README.md. */
export { decode, type ImageFormat, type ImageSource, type Pixels } from './decode.js';
export { ImageError, ModelError, type Reason } from './errors.js';
export { type Head, type ModelInfo, type TargetType } from './model.js';
export { BASELINE_VERSION, baselineScore, scoreOf, type Score, type Webcam } from './score.js';
export {
  Scorer,
  type Heads,
  type ImageInfo,
  type Item,
  type Mode,
  type Scored,
  type ScorerOptions,
} from './scorer.js';
