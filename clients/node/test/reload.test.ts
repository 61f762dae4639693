/** The live link is swung under a scorer that runs: each call is one model's, whole. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';

import { ImageError, Scorer, type Item, type Score } from '../src/index.js';
import { cases } from './cases.js';

const { folder, picture, scores } = cases.exchanged;

class LiveLink {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'webcam-ml-'));
  readonly path = path.join(this.folder, 'binary', 'model.onnx');
  readonly warnings: string[] = [];

  constructor(context: TestContext) {
    context.after(() => rmSync(this.folder, { recursive: true }));
    this.leadTo('first');
  }

  leadTo(version: string): void {
    const prepared = path.join(this.folder, '.binary.tmp');
    symlinkSync(path.resolve(folder, version), prepared);
    renameSync(prepared, path.join(this.folder, 'binary'));
  }

  scorer(modelVersion?: string): Promise<Scorer> {
    return Scorer.create({
      mode: 'onnx',
      modelPath: this.path,
      modelVersion,
      warn: (line) => this.warnings.push(line),
    });
  }
}

async function scoreOfPicture(scorer: Scorer): Promise<Score | null> {
  return (await scorer.score(picture)).score;
}

test('the next call is scored by what the link leads to', async (context) => {
  const live = new LiveLink(context);
  const scorer = await live.scorer();
  assert.deepEqual(await scoreOfPicture(scorer), scores.first);
  for (const name of ['second', 'first', 'second'] as const) {
    live.leadTo(name);
    assert.deepEqual(await scoreOfPicture(scorer), scores[name]);
    assert.equal(scorer.model?.modelVersion, `binary-${name}`);
  }
  assert.deepEqual(live.warnings, []);
});

test('many pictures are scored by one model, which the memory keeps until the last', async (context) => {
  const live = new LiveLink(context);
  const scorer = await live.scorer();
  async function* images(): AsyncGenerator<Item> {
    for (let number = 0; number < 40; number += 1) {
      if (number === 5) {
        live.leadTo('second');
        assert.deepEqual(await scoreOfPicture(scorer), scores.second);
      }
      yield { image: picture };
    }
  }
  for await (const result of scorer.scoreMany(images())) {
    assert.ok(!(result instanceof ImageError));
    assert.deepEqual(result.score, scores.first);
  }
  assert.deepEqual(await scoreOfPicture(scorer), scores.second);
});

test('no score carries the name of another model while calls overlap and links swing', async (context) => {
  const live = new LiveLink(context);
  const scorer = await live.scorer();
  const calls: Promise<Score | null>[] = [];
  for (let number = 0; number < 100; number += 1) {
    if (number % 5 === 0) live.leadTo(number % 10 === 0 ? 'second' : 'first');
    calls.push(scoreOfPicture(scorer));
    if (number % 7 === 0) await calls[number];
  }
  const found = await Promise.all(calls);
  for (const score of found) {
    assert.deepEqual(score, score?.modelVersion === 'binary-first' ? scores.first : scores.second);
  }
  assert.equal(new Set(found.map((score) => score?.modelVersion)).size, 2);
  assert.deepEqual(await scoreOfPicture(scorer), scores.first);
});

// These are broken by what is set, and not by their files.
const BY_VARIABLES = ['nothing named', 'missing', 'folder', 'version'];
for (const broken of cases.broken.filter(({ name }) => !BY_VARIABLES.includes(name))) {
  test(`a model that cannot be used (${broken.name}) does not replace one that can`, async (context) => {
    const live = new LiveLink(context);
    const scorer = await live.scorer();
    live.leadTo(broken.folder);
    for (let call = 0; call < 3; call += 1) {
      assert.deepEqual(await scoreOfPicture(scorer), scores.first);
    }
    assert.equal(live.warnings.length, 1);
    assert.match(live.warnings[0] ?? '', new RegExp(`^binary-first goes on, .*: .*${broken.reason}`, 's'));
    live.leadTo('second');
    assert.deepEqual(await scoreOfPicture(scorer), scores.second);
  });
}

test('a scorer from before the first promotion takes the model that comes', async (context) => {
  const live = new LiveLink(context);
  rmSync(path.join(live.folder, 'binary'));
  const scorer = await live.scorer();
  assert.equal((await scorer.score(picture)).path, 'baseline');
  assert.equal((await scorer.score(picture)).path, 'baseline');
  assert.equal(live.warnings.length, 1);
  live.leadTo('second');
  assert.deepEqual(await scoreOfPicture(scorer), scores.second);
  assert.equal(scorer.reason, null);
});

test('files that are exchanged without a link are noticed', async (context) => {
  const live = new LiveLink(context);
  const copied = path.join(live.folder, 'copied');
  cpSync(path.join(folder, 'first'), copied, { recursive: true });
  const scorer = await Scorer.create({ mode: 'onnx', modelPath: path.join(copied, 'model.onnx') });
  assert.deepEqual(await scoreOfPicture(scorer), scores.first);
  cpSync(path.join(folder, 'second'), copied, { recursive: true });
  assert.deepEqual(await scoreOfPicture(scorer), scores.second);
});

test('a version that is asked for is kept', async (context) => {
  const live = new LiveLink(context);
  const scorer = await live.scorer('binary-first');
  live.leadTo('second');
  assert.deepEqual(await scoreOfPicture(scorer), scores.first);
  assert.deepEqual(await scoreOfPicture(scorer), scores.first);
  assert.equal(live.warnings.length, 1);
  assert.match(live.warnings[0] ?? '', /AI_MODEL_VERSION asks for binary-first/);
});
