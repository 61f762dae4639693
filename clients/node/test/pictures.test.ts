/** Every picture of the decoder tests: the same pixels, score or reason as in Python. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { decode, ImageError, Scorer, type Score } from '../src/index.js';
import { cases, picture, type Picture } from './cases.js';

const scorer = await Scorer.create({ mode: 'onnx', modelPath: cases.model });

function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function assertClose(found: Score | null, expected: Score): void {
  assert.ok(found);
  assert.deepEqual(Object.keys(found), Object.keys(expected));
  assert.equal(found.modelVersion, expected.modelVersion);
  assert.ok(Math.abs(found.rawScore - expected.rawScore) <= 1e-4, `${found.rawScore}`);
  assert.ok(Math.abs(found.aiRating - expected.aiRating) <= 0.011, `${found.aiRating}`);
}

async function reasonOf(file: string): Promise<string | undefined> {
  try {
    await decode(file);
  } catch (error) {
    assert.ok(error instanceof ImageError, String(error));
    return error.reason;
  }
  return undefined;
}

async function seesWhatPythonSees(expected: Picture): Promise<void> {
  const bytes = readFileSync(expected.file);
  const pixels = await decode(bytes);
  if (expected.differs === 'pixels') {
    assert.notEqual(sha256(pixels.data), expected.sha256, 'equal by now: say so in docs/runtime.md');
    return;
  }
  assert.deepEqual([pixels.width, pixels.height], [expected.width, expected.height]);
  assert.equal(sha256(pixels.data), expected.sha256);
  for (const image of [bytes, new Uint8Array(bytes), expected.file]) {
    const scored = await scorer.score(image);
    assert.equal(scored.path, 'onnx');
    assertClose(scored.score, expected.score);
    const { width, height, format } = pixels;
    assert.deepEqual(scored.image, { width, height, format });
  }
}

for (const expected of cases.pictures) {
  test(`${expected.name}: ${expected.reason ?? 'as Python sees it'}`, async () => {
    if (expected.reason === undefined) return seesWhatPythonSees(expected);
    const reason = await reasonOf(expected.file);
    if (expected.differs === 'may be read') assert.equal(reason, undefined, 'say so in docs/runtime.md');
    else assert.equal(reason, expected.reason);
  });
}

test('CMYK differs by no more than docs/runtime.md says', async () => {
  const { file } = picture('cmyk');
  const { data } = await decode(file);
  const python = readFileSync(`${file}.rgb`);
  const differences = data.map((value, at) => Math.abs(value - (python[at] ?? 0)));
  const sum = differences.reduce((total, one) => total + one, 0);
  assert.ok(sum / differences.length < 12);
  assert.ok(differences.every((one) => one < 60));
});

test('of damaged files as many are read as docs/runtime.md says, and the others have the same reason', async () => {
  let readHereOnly = 0;
  let cutAndRead = 0;
  for (const { file, cut, reason, sha256: expected } of cases.damaged) {
    const found = await reasonOf(file);
    if (reason === undefined) {
      assert.equal(found, undefined);
      assert.equal(sha256((await decode(file)).data), expected);
    } else if (found === undefined) {
      readHereOnly += 1;
      cutAndRead += Number(cut);
    } else {
      assert.equal(found, reason);
    }
  }
  assert.ok(readHereOnly <= 70, `${readHereOnly}`); // 64 seen
  assert.ok(cutAndRead <= 2, `${cutAndRead}`);
});

test('what is no picture file is unreadable, and nobody waits for a device', async () => {
  assert.equal(await reasonOf('nowhere.jpg'), 'unreadable');
  assert.equal(await reasonOf('/dev/zero'), 'unreadable');
  assert.equal(await reasonOf('.'), 'unreadable');
  assert.equal(await reasonOf('a\0b'), 'unreadable');
});

test('more bytes than are read are refused, in a file and in memory', async () => {
  const large = new Uint8Array(32 * 2 ** 20 + 1);
  await assert.rejects(decode(large), { reason: 'too_many_bytes' });
});

test('errors quote nothing of a file', async () => {
  for (const content of ['root:$6$secret:19000:0:99999:7:::\n', '\x7fELF\x02secret']) {
    await assert.rejects(decode(Buffer.from(content)), (error: Error) => !error.message.includes('secret'));
  }
});
