/** Who speaks: the model under its name, the baseline under its own, or nobody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { baselineScore, ImageError, Scorer, scoreOf, type Item, type Scored } from '../src/index.js';
import { Turns } from '../src/turns.js';
import { cases, picture } from './cases.js';

const { file: photo, score: expected } = picture('temple');
const sunset = { viewCount: 5000, rating: 4, phase: 'sunset' };
const live = { mode: 'onnx', modelPath: cases.model } as const;

function scored(result: Scored | ImageError | undefined): Scored {
  assert.ok(result && !(result instanceof ImageError), String(result));
  return result;
}

async function all(results: AsyncIterable<Scored | ImageError>): Promise<(Scored | ImageError)[]> {
  const found = [];
  for await (const result of results) found.push(result);
  return found;
}

test('the baseline is that of Python', () => {
  for (const { webcam, score } of cases.baselines) assert.deepEqual(baselineScore(webcam), score);
});

test('rounding is that of Python, to the last digit', () => {
  for (const { raw, score } of cases.rounded) assert.deepEqual(scoreOf(raw, 'm'), score);
});

test('no raw score lies outside 0 to 1', () => {
  for (const raw of [-0.1, 1.1, NaN]) assert.throws(() => scoreOf(raw, 'm'), RangeError);
});

test('the model says which it is and from where on it says yes', async () => {
  const scorer = await Scorer.create(live);
  const result = await scorer.score(photo, sunset);
  const head = {
    modelVersion: cases.version,
    targetType: 'binary',
    decisionThreshold: cases.decisionThreshold,
  };
  const model = { ...head, heads: [head] };
  assert.deepEqual(result.model, model);
  assert.deepEqual(scorer.model, model);
  assert.deepEqual([result.path, result.reason, scorer.reason], ['onnx', null, null]);
  assert.deepEqual(result.score, expected);
  assert.deepEqual(result.heads, { binary: expected });
});

test('a file with both heads gives the score of each, and the first one as ever', async () => {
  const scorer = await Scorer.create({ mode: 'onnx', modelPath: cases.both.model });
  const result = await scorer.score(photo);
  assert.deepEqual(result.heads, cases.both.scores);
  assert.deepEqual(result.score, cases.both.scores.binary);
  assert.deepEqual(result.model?.heads.map(({ targetType }) => targetType), ['binary', 'regression']);
  const [many] = await all(scorer.scoreMany([{ image: photo }]));
  assert.deepEqual(scored(many).heads, cases.both.scores);
});

test('mode baseline needs no model and has no reason', async () => {
  for (const scorer of [await Scorer.create(), await Scorer.fromEnv({}, { AI_SCORING_MODE: '' })]) {
    const result = await scorer.score(photo, sunset);
    assert.deepEqual(result.score, baselineScore(sunset));
    assert.deepEqual([result.path, result.reason, result.model], ['baseline', null, null]);
    assert.deepEqual(result.heads, {});
  }
});

test('the environment of the process is the default', async () => {
  const before = { ...process.env };
  Object.assign(process.env, { AI_SCORING_MODE: 'onnx', AI_ONNX_MODEL_PATH: cases.model });
  try {
    assert.equal((await (await Scorer.fromEnv()).score(photo)).path, 'onnx');
  } finally {
    process.env = before;
  }
});

test('options that make no sense are errors at once', async () => {
  await assert.rejects(Scorer.fromEnv({}, { AI_SCORING_MODE: 'onxx' }), /AI_SCORING_MODE is 'onxx'/);
  await assert.rejects(Scorer.create({ concurrency: 0 }), /concurrency is 0/);
  await assert.rejects(Scorer.create({ threads: 1.5 }), /threads is 1.5/);
});

for (const { name, env, reason } of cases.broken) {
  test(`a model that cannot be used (${name}) is said once, and never gives its name`, async () => {
    for (const withoutModel of ['baseline', 'unscored'] as const) {
      const warnings: string[] = [];
      const scorer = await Scorer.fromEnv({ withoutModel, warn: (line) => warnings.push(line) }, env);
      for (let call = 0; call < 3; call += 1) {
        const result = await scorer.score(photo, sunset);
        assert.equal(result.path, withoutModel);
        assert.deepEqual(result.score, withoutModel === 'baseline' ? baselineScore(sunset) : null);
        assert.match(result.reason ?? '', new RegExp(reason));
      }
      assert.equal(scorer.model, null);
      assert.match(scorer.reason ?? '', new RegExp(reason));
      const begins = { baseline: 'scoring falls back to baseline-v1', unscored: 'pictures stay unscored' };
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? '', new RegExp(`^${begins[withoutModel]}: .*${reason}`, 's'));
    }
  });
}

test('a model that fails on a picture is asked again for the next', async () => {
  const warnings: string[] = [];
  const scorer = await Scorer.create({
    mode: 'onnx',
    modelPath: cases.picky,
    warn: (line) => warnings.push(line),
  });
  const narrow = picture('one pixel PNG').file;
  const paths = [];
  for (const image of [photo, narrow, narrow, photo]) paths.push((await scorer.score(image)).path);
  assert.deepEqual(paths, ['onnx', 'baseline', 'baseline', 'onnx']);
  assert.equal(warnings.length, 1);
});

test('many pictures come in order, a bad one is its own error, and a lazy source is not drained', async () => {
  const scorer = await Scorer.create({ ...live, concurrency: 2 });
  const names = ['temple', 'no picture 1', 'flower', 'jpeg without its last byte', 'gif'];
  let taken = 0;
  function* endless(): Generator<Item> {
    for (; ; taken += 1) yield { image: picture(names[taken % names.length] ?? '').file };
  }
  const results = scorer.scoreMany(endless());
  for (let at = 0; at < 50; at += 1) {
    const { value } = await results.next();
    const { reason, score } = picture(names[at % names.length] ?? '');
    if (value instanceof ImageError) assert.equal(value.reason, reason);
    else assert.deepEqual(scored(value).score, score);
  }
  await results.return(undefined);
  assert.ok(taken <= 50 + 4 * 2, `${taken}`);
});

test('each picture of many has its own webcam, from a stream too', async () => {
  const scorer = await Scorer.create();
  async function* stream(): AsyncGenerator<Item> {
    yield { image: photo, webcam: sunset };
    yield { image: photo };
  }
  const scores = (await all(scorer.scoreMany(stream()))).map((result) => scored(result).score);
  assert.deepEqual(scores, [baselineScore(sunset), baselineScore()]);
});

test('what a source throws is thrown, and is no error of a picture', async () => {
  const scorer = await Scorer.create();
  function* broken(): Generator<Item> {
    yield { image: photo };
    throw new TypeError('a programming error');
  }
  await assert.rejects(all(scorer.scoreMany(broken())), TypeError);
});

test('never more tasks run than there are turns, and each gets one', async () => {
  const turns = new Turns(3);
  let running = 0;
  let most = 0;
  const tasks = Array.from({ length: 20 }, (_, number) =>
    turns.take(async () => {
      most = Math.max(most, (running += 1));
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (number === 5) throw new Error('one that fails gives its turn back');
      return number;
    }),
  );
  const settled = await Promise.allSettled(tasks);
  assert.equal(most, 3);
  assert.equal(running, 0);
  assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 19);
});
