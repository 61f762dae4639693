/** The package as such. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const source = new URL('../src/', import.meta.url);
const LOADED = new Set(['node:crypto', 'node:fs', 'node:fs/promises', 'node:os', 'node:path', 'node:zlib']);

test('nothing but sharp, onnxruntime-node and modules without a network is loaded', () => {
  const allowed = new Set([...LOADED, 'sharp', 'onnxruntime-node']);
  for (const name of readdirSync(source).filter((one) => one.endsWith('.js'))) {
    const text = readFileSync(new URL(name, source), 'utf8');
    for (const [, module = ''] of text.matchAll(/\bfrom '([^']+)'/g)) {
      assert.ok(module.startsWith('./') || allowed.has(module), `${name} loads ${module}`);
    }
    assert.doesNotMatch(text, /\b(fetch|import|require|WebSocket)\(/, name);
  }
});

test('there are two dependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  assert.deepEqual(Object.keys(dependencies), ['onnxruntime-node', 'sharp']);
});
