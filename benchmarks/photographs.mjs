// Pixels and scores of files by clients/node; see photographs.py.
import { createHash } from 'node:crypto';
import { text } from 'node:stream/consumers';

import { decode, Scorer } from '../clients/node/build/src/index.js';

const { model: modelPath, files } = JSON.parse(await text(process.stdin));
const scorer = await Scorer.create({ mode: 'onnx', modelPath, withoutModel: 'unscored' });
const answers = [];
for (const file of files) {
  try {
    const { data } = await decode(file);
    const { score } = await scorer.score(file);
    answers.push({ sha256: createHash('sha256').update(data).digest('hex'), rawScore: score.rawScore });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
