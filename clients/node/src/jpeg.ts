/**
 * What the markers of a JPEG say, judged before it is decoded.
 *
 * libjpeg would go over the pixels as often as a file of 200 kB asks for, 2,000 times, and reads kinds
 * that Python refuses.
 */
import { ImageError } from './errors.js';
import type { Walked } from './walked.js';

const MAX_SCANS = 64;
const MAX_SEGMENTS = 10_000;

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const APP1 = 0xe1;
const DEFINES = new Set([0xc4, 0xc8, 0xcc]); // DHT, JPG, DAC: in the range of frames, and none
const READ_PROCESSES = new Set([0xc0, 0xc1, 0xc2]); // baseline, extended, progressive, with Huffman codes

/**
 * Reads the markers as libjpeg does, up to the end marker (ITU-T T.81, annex B).
 *
 * @throws ImageError: damaged, too_many_scans or unsupported.
 */
export function walkJpeg(data: Buffer): Walked {
  let at = 2;
  let scans = 0;
  let process: number | undefined;
  let precision: number | undefined;
  let exif: Buffer | undefined;
  let cut = true;
  for (let segments = 0; ; segments += 1) {
    if (segments === MAX_SEGMENTS) {
      throw new ImageError('damaged', `the JPEG file has more than ${MAX_SEGMENTS} segments`);
    }
    // Between segments nothing but fill bytes may stand; behind a scan its data have been passed.
    const begins = data[at] === 0xff;
    while (data[at] === 0xff) at += 1;
    if (at >= data.length) break;
    const code = data[at] ?? 0;
    if (!begins || code === 0) {
      throw new ImageError('damaged', 'the JPEG file has bytes between its segments');
    }
    at += 1;
    if (code === EOI) {
      cut = false;
      break;
    }
    if (code === 0x01 || (code >= 0xd0 && code <= 0xd7)) continue; // these have no length
    const known = (code >= 0xc0 && code <= 0xef) || code === 0xfe;
    if (!known || code === SOI) {
      throw new ImageError('damaged', 'the JPEG file has a marker that no segment begins with');
    }
    const length = at + 2 <= data.length ? data.readUInt16BE(at) : 0;
    const content = data.subarray(at + 2, Math.max(at + length, at + 2));
    at += Math.max(length, 2);
    const isFrame = code >= 0xc0 && code <= 0xcf && !DEFINES.has(code);
    if (isFrame && process === undefined && content.length > 0) {
      process = code;
      precision = content[0];
    } else if (code === APP1 && !exif && content.toString('latin1', 0, 6) === 'Exif\0\0') {
      exif = content;
    } else if (code === SOS) {
      scans += 1;
      if (scans > MAX_SCANS) {
        throw new ImageError(
          'too_many_scans',
          `the JPEG file goes over its pixels more than ${MAX_SCANS} times; save it again, ` +
            'baseline or with an ordinary progressive script of some ten scans',
        );
      }
      at = behindScan(data, at);
    }
  }
  requireReadable(process, precision);
  return { exif, cut };
}

/** In entropy-coded data 0xFF stands before 0x00 or a restart marker; anything else ends them. */
function behindScan(data: Buffer, start: number): number {
  for (let at = data.indexOf(0xff, start); at !== -1; at = data.indexOf(0xff, at + 1)) {
    const next = data[at + 1];
    if (next === undefined) break;
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return data.length;
}

function requireReadable(process: number | undefined, precision: number | undefined): void {
  if (process === undefined) return; // the decoder says what is wrong
  if (!READ_PROCESSES.has(process)) {
    throw new ImageError(
      'unsupported',
      'this is a lossless, hierarchical or arithmetic-coded JPEG; baseline, extended and ' +
        'progressive ones with Huffman codes are read',
    );
  }
  if (precision !== 8) {
    throw new ImageError('unsupported', `this is a ${precision}-bit JPEG; 8 bits are read`);
  }
}
