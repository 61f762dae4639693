/**
 * What the chunks of a PNG say, judged before it is decoded (PNG 3, sections 5.3 to 5.6 and 11.3.2).
 */
import { crc32 } from 'node:zlib';

import { ImageError } from './errors.js';
import type { Walked } from './walked.js';

const SIGNATURE_LENGTH = 8;

/**
 * Reads the chunks up to the end of the pixels; what follows these does not matter.
 *
 * @throws ImageError: damaged or truncated.
 */
export function walkPng(data: Buffer): Walked {
  let exif: Buffer | undefined;
  let pixels = false;
  for (let at = SIGNATURE_LENGTH; at + 8 <= data.length; ) {
    const kind = data.toString('latin1', at + 4, at + 8);
    if (pixels && kind !== 'IDAT') return { exif, cut: false };
    const end = at + 8 + data.readUInt32BE(at);
    if (end + 4 > data.length) {
      throw new ImageError('truncated', `the PNG file ends too early, after ${data.length} bytes`);
    }
    const intact = () => crc32(data.subarray(at + 4, end)) === data.readUInt32BE(end);
    const first = at === SIGNATURE_LENGTH;
    if (isAncillary(kind)) {
      // A damaged one is passed over, as browsers do.
      if (kind === 'eXIf' && !exif && intact()) exif = data.subarray(at + 8, end);
    } else if (!intact()) {
      throw new ImageError('damaged', 'a chunk of the PNG file has a wrong checksum');
    } else if (kind === 'IDAT') {
      pixels = true;
    } else if (kind !== 'PLTE' && !(kind === 'IHDR' && first)) {
      throw new ImageError('damaged', 'the PNG file has a critical chunk that nobody expects');
    }
    at = end + 4;
  }
  return { exif, cut: true };
}

/** The bit that makes the first letter lower case. */
function isAncillary(kind: string): boolean {
  return (kind.charCodeAt(0) & 0x20) !== 0;
}
