/** What Python wrote for these tests: webcam_ml_tests/integration/node_cases.py. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import type { Score, Webcam } from '../src/index.js';

export interface Picture {
  name: string;
  file: string;
  /** What Python makes of it: either a reason, or the rest. */
  reason?: string;
  width: number;
  height: number;
  sha256: string;
  score: Score;
  differs: null | 'pixels' | 'may be read';
}

interface Cases {
  model: string;
  version: string;
  decisionThreshold: number;
  pictures: Picture[];
  damaged: { file: string; cut: boolean; reason?: string; sha256?: string }[];
  baselines: { webcam: Webcam; score: Score }[];
  rounded: { raw: number; score: Score }[];
  broken: { name: string; folder: string; env: Record<string, string>; reason: string }[];
  exchanged: { folder: string; picture: string; scores: { first: Score; second: Score } };
  picky: string;
  both: { model: string; scores: { binary: Score; regression: Score } };
}

const folder = process.env['WEBCAM_ML_CASES'];
if (!folder) {
  throw new Error(
    'WEBCAM_ML_CASES names no folder; write one by `python -m webcam_ml_tests.integration.node_cases FOLDER`',
  );
}

export const cases = JSON.parse(readFileSync(path.join(folder, 'cases.json'), 'utf8')) as Cases;

export function picture(name: string): Picture {
  const found = cases.pictures.find((one) => one.name === name);
  if (!found) throw new Error(`there is no picture ${name}`);
  return found;
}
