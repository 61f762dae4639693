// The measured process of runtime.py in Node: the time of the second pass over the files.
import { readFileSync } from 'node:fs';

import { ImageError, Scorer } from '../clients/node/build/src/index.js';

const { model: modelPath, files, options } = JSON.parse(process.argv[2]);
const scorer = await Scorer.create({ mode: 'onnx', modelPath, ...options });

async function score() {
  for await (const result of scorer.scoreMany(files.map((image) => ({ image })))) {
    if (result instanceof ImageError || result.path !== 'onnx') throw new Error('no score');
  }
}

await score();
const [began, cpu] = [performance.now(), process.cpuUsage()];
await score();
const seconds = (performance.now() - began) / 1000;
const { user, system } = process.cpuUsage(cpu);
const [, peak] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
console.log(JSON.stringify({ seconds, cpu_seconds: (user + system) / 1e6, peak_bytes: 1024 * peak }));
