/** What is stored of one picture: exactly these three keys. */
export interface Score {
  /** 0–1, six decimals: a probability for a binary model, (rating − 1) / 4 for a regression model. */
  rawScore: number;
  /** 1 + 4 · rawScore, two decimals; for a binary model no estimate of the rating. */
  aiRating: number;
  /** The model that spoke, or `baseline-v1`. */
  modelVersion: string;
}

/** What the baseline knows of a picture: facts about its webcam, none about its pixels. */
export interface Webcam {
  viewCount?: number | null;
  /** The operator's, 1–5. */
  rating?: number | null;
  phase?: string | null;
}

export const BASELINE_VERSION = 'baseline-v1';

/** Rounds a raw score as it is stored, and derives the rating from it. */
export function scoreOf(raw: number, modelVersion: string): Score {
  if (!(raw >= 0 && raw <= 1)) throw new RangeError(`a raw score lies between 0 and 1, not ${raw}`);
  const rawScore = Number(raw.toFixed(6));
  return { rawScore, aiRating: Number((1 + 4 * rawScore).toFixed(2)), modelVersion };
}

/** Scores from metadata only: the app's own formula, docs/runtime.md. */
export function baselineScore({ viewCount, rating, phase }: Webcam = {}): Score {
  const popularity = clamp(Math.log10(Math.max(viewCount ?? 0, 0) + 1) / 6);
  const liked = clamp((rating ?? 3) / 5);
  const bonus = phase === 'sunset' ? 0.04 : 0;
  return scoreOf(clamp(0.65 * popularity + 0.35 * liked + bonus), BASELINE_VERSION);
}

function clamp(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
