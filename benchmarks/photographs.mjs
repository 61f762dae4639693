// Pixels and scores of files by the scorer of docs/runtime.md; see photographs.py.
import { createHash } from 'node:crypto';
import { text } from 'node:stream/consumers';

import { decode, loadModel, runModel } from './scorer.mjs';

const { model: modelPath, files } = JSON.parse(await text(process.stdin));
const model = await loadModel(modelPath);
const answers = [];
for (const file of files) {
  try {
    const pixels = await decode(file);
    const { rawScore } = await runModel(model, pixels);
    answers.push({ sha256: createHash('sha256').update(pixels.data).digest('hex'), rawScore });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
