// Runs the scorer of docs/runtime.md on what test_node_runtime.py asks for, and answers in JSON.
// Started in a folder that holds scorer.mjs; questions come on stdin, pixels go to files.
import { writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const { baselineScore, createScorer, decode, scoreOf } = await import(pathToFileURL('scorer.mjs'));
const questions = JSON.parse(await text(process.stdin));

const pictures = [];
const score = await createScorer(questions.env);
for (const [index, picture] of questions.pictures.entries()) {
  try {
    const { data, dims } = await decode(picture);
    writeFileSync(`${index}.raw`, data);
    pictures.push({ dims, score: await score(picture) });
  } catch (error) {
    pictures.push({ error: error.message });
  }
}

const fallbacks = [];
for (const env of questions.fallbacks) {
  const warnings = [];
  console.warn = (line) => warnings.push(line);
  try {
    const scorer = await createScorer(env);
    const scores = [];
    for (const picture of questions.pictures.slice(0, 2)) scores.push(await scorer(picture, questions.webcams[0]));
    fallbacks.push({ scores, warnings });
  } catch (error) {
    fallbacks.push({ error: error.message });
  }
}

const answers = {
  pictures,
  fallbacks,
  baselines: questions.webcams.map(baselineScore),
  rounded: questions.raw.map((raw) => scoreOf(raw, 'm')),
};
process.stdout.write(JSON.stringify(answers));
