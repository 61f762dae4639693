/**
 * From the bytes of an image file to RGB pixels: the same ones as `webcam_ml.scoring.decode_image`.
 *
 * Resizing and normalising are inside the model. What is done here must not be done otherwise:
 * docs/runtime.md, "Pictures", is the rule, and the tests compare with Python.
 */
import sharp from 'sharp';

import { ImageError, saidBy } from './errors.js';
import { NotARegularFileError, readRegularFile, TooLargeError } from './files.js';
import { walkJpeg } from './jpeg.js';
import { asksToBeTurned } from './orientation.js';
import { walkPng } from './png.js';
import type { Walked } from './walked.js';

/** The content of an image file, or its path. */
export type ImageSource = Uint8Array | string;

export type ImageFormat = 'JPEG' | 'PNG' | 'WEBP' | 'GIF';

export interface Pixels {
  /** [height, width, 3], RGB, top row first. */
  data: Buffer;
  width: number;
  height: number;
  format: ImageFormat;
}

const MAX_BYTES = 32 * 2 ** 20;
const MAX_PIXELS = 7680 * 4320;
const DECODE_SECONDS = 20;

// An older one knows no autoOrient, and says nothing.
const [major = 0, minor = 0] = sharp.versions.sharp.split('.').map(Number);
if (major === 0 && minor < 34) {
  throw new Error(`sharp ${sharp.versions.sharp} does not turn pictures; install 0.34 or later`);
}

/**
 * Decodes an image file: JPEG, PNG, WebP or GIF, of an animation the first frame.
 *
 * @throws ImageError: the file cannot be used.
 */
export async function decode(image: ImageSource): Promise<Pixels> {
  const bytes = typeof image === 'string' ? await readImage(image) : asBuffer(image);
  if (bytes.length > MAX_BYTES) {
    throw new ImageError(
      'too_many_bytes',
      `${bytes.length} bytes; pictures of at most ${MAX_BYTES} are read`,
    );
  }
  const format = formatOf(bytes);
  const { exif, cut } = WALKS[format](bytes);
  try {
    const header = await sharp(bytes, { limitInputPixels: false }).metadata();
    requireFewPixels(header.width, header.height);
    const { data, info } = await sharp(bytes, {
      ignoreIcc: true,
      failOn: 'warning', // libjpeg fills what is missing with grey, and warns
      limitInputPixels: MAX_PIXELS,
      autoOrient: asksToBeTurned(format === 'WEBP' ? header.exif : exif),
    })
      .timeout({ seconds: DECODE_SECONDS })
      .toColourspace('srgb')
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height, format };
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const said = saidBy(error);
    throw cut || said.includes('Unexpected end of GIF')
      ? new ImageError('truncated', `the ${format} file ends too early (${said})`, { cause: error })
      : new ImageError('damaged', `the ${format} file cannot be decoded (${said})`, { cause: error });
  }
}

const WALKS: Record<ImageFormat, (data: Buffer) => Walked> = {
  JPEG: walkJpeg,
  PNG: walkPng,
  WEBP: walkWebp,
  GIF: walkGif,
};

function walkWebp(data: Buffer): Walked {
  if (data.length < 8 + data.readUInt32LE(4)) {
    throw new ImageError('truncated', 'the WEBP file is shorter than its header says');
  }
  return { exif: undefined, cut: false };
}

/** The canvas is measured here: libvips believes none of more than 2,048 pixels a side. */
function walkGif(data: Buffer): Walked {
  if (data.length < 13) {
    throw new ImageError('truncated', `the GIF file ends too early, after ${data.length} bytes`);
  }
  requireFewPixels(data.readUInt16LE(6), data.readUInt16LE(8));
  return { exif: undefined, cut: false }; // the decoder says where it ends
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function readImage(path: string): Promise<Buffer> {
  try {
    return await readRegularFile(path, MAX_BYTES);
  } catch (error) {
    if (error instanceof TooLargeError) {
      throw new ImageError('too_many_bytes', error.message, { cause: error });
    }
    if (error instanceof NotARegularFileError) {
      throw new ImageError('unreadable', error.message, { cause: error });
    }
    if (error instanceof Error && 'code' in error) {
      const why = error.code === 'ENOENT' ? 'there is no such file' : `the file cannot be read: ${error.code}`;
      throw new ImageError('unreadable', why, { cause: error });
    }
    throw error;
  }
}

function requireFewPixels(width: number, height: number): void {
  if (width * height > MAX_PIXELS) {
    throw new ImageError(
      'too_many_pixels',
      `${width}×${height} is ${megapixels(width * height)} megapixels; ` +
        `at most ${megapixels(MAX_PIXELS)} are decoded`,
    );
  }
}

function megapixels(pixels: number): string {
  return (pixels / 1e6).toFixed(1);
}

const SIGNATURES: readonly (readonly [string, ImageFormat])[] = [
  ['\xff\xd8\xff', 'JPEG'],
  ['\x89PNG\r\n\x1a\n', 'PNG'],
  ['GIF87a', 'GIF'],
  ['GIF89a', 'GIF'],
];
const KNOWN_BUT_NOT_READ: readonly (readonly [number, string, string])[] = [
  [0, 'BM', 'BMP'],
  [0, 'II*\0', 'TIFF'],
  [0, 'MM\0*', 'TIFF'],
  [4, 'ftypavi', 'AVIF'],
  [4, 'ftyphei', 'HEIC'],
  [4, 'ftypmif1', 'HEIF'],
  [4, 'JXL ', 'JPEG XL'],
  [0, '\xff\x0a', 'JPEG XL'],
  [4, 'jP  ', 'JPEG 2000'],
  [4, 'ftyp', 'MP4 video'],
];

function formatOf(data: Buffer): ImageFormat {
  if (data.length === 0) throw new ImageError('empty', 'the file is empty (0 bytes)');
  const head = data.toString('latin1', 0, 16);
  for (const [signature, format] of SIGNATURES) if (head.startsWith(signature)) return format;
  if (head.startsWith('RIFF') && head.startsWith('WEBP', 8)) return 'WEBP';
  for (const [offset, signature, name] of KNOWN_BUT_NOT_READ) {
    if (head.startsWith(signature, offset)) {
      throw new ImageError('unsupported', `${name} is not read; JPEG, PNG, WebP and GIF are`);
    }
  }
  throw new ImageError('not_an_image', `${described(data)}, not a JPEG, PNG, WebP or GIF image`);
}

/** Says what a file looks like, for whoever finds it in a log, and quotes nothing of it. */
function described(data: Buffer): string {
  const head = data.toString('latin1', 0, 1024).trimStart().toLowerCase();
  if (head.includes('<svg')) return 'this looks like an SVG drawing';
  if (head.includes('<html') || /^(\xef\xbb\xbf\s*)?<(!doctype html|head|body)/.test(head)) {
    return 'this looks like an HTML page (an error page of the host?)';
  }
  return `these are ${data.length} bytes of unknown content`;
}
