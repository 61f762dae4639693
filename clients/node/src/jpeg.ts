/**
 * What the markers of a JPEG say, judged before it is decoded.
 *
 * libjpeg would go over the pixels as often as a file of 200 kB asks for, 2,000 times, reads kinds that
 * Python refuses, and does not warn where the last scans are missing.
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
const ALL: readonly number[] = Array.from({ length: 64 }, (_, coefficient) => coefficient);
const READ_PROCESSES = new Set([0xc0, 0xc1, 0xc2]); // baseline, extended, progressive, with Huffman codes

/** Of each component by its id, the coefficients that no scan has brought to the last bit. */
type Missing = Map<number | undefined, Set<number>>;

/**
 * Reads the markers as libjpeg does, up to the end marker (ITU-T T.81, annex B).
 *
 * @throws ImageError: damaged, too_many_scans, truncated or unsupported.
 */
export function walkJpeg(data: Buffer): Walked {
  let at = 2;
  let scans = 0;
  let process: number | undefined;
  let precision: number | undefined;
  let exif: Buffer | undefined;
  let cut = true;
  const missing: Missing = new Map();
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
      for (let id = 6; id < content.length; id += 3) missing.set(content[id], new Set(ALL));
    } else if (code === APP1 && scans === 0 && !exif && content.toString('latin1', 0, 6) === 'Exif\0\0') {
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
      noteWhatComes(content, missing);
      at = behindScan(data, at);
    }
  }
  requireReadable(process, precision);
  if ([...missing.values()].some((coefficients) => coefficients.size > 0)) {
    throw new ImageError(
      'truncated',
      'the JPEG file ends before the scans that bring the rest of its pixels',
    );
  }
  return { exif, cut };
}

/** Takes from what is missing of each component what a scan brings to the last bit (T.81, B.2.3). */
function noteWhatComes(scan: Buffer, missing: Missing): void {
  const band = 1 + 2 * (scan[0] ?? 0);
  const [first, last, approximation] = scan.subarray(band, band + 3);
  if (first === undefined || last === undefined || approximation === undefined) return;
  if ((approximation & 0x0f) !== 0) return; // a later scan brings the lower bits
  for (let id = 1; id < band; id += 2) {
    const coefficients = missing.get(scan[id]);
    for (let one = first; one <= last; one += 1) coefficients?.delete(one);
  }
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
