/** Why one picture cannot be used; the names are those of Python's `ImageError.reason`. */
export type Reason =
  | 'empty' // no bytes at all
  | 'not_an_image' // HTML, SVG, text, anything without the signature of an image format
  | 'unsupported' // an image, but of a format or a kind that is not read here
  | 'too_many_bytes'
  | 'too_many_pixels'
  | 'too_many_scans' // a JPEG that goes over its pixels more often than any encoder makes it
  | 'truncated' // the file ends before its pixels do
  | 'damaged' // the signature fits, the content does not
  | 'unreadable'; // the operating system does not give the file

/** One picture that cannot be used; its message quotes nothing of the file. */
export class ImageError extends Error {
  override readonly name = 'ImageError';

  constructor(
    readonly reason: Reason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A model that may not or cannot be used: missing, damaged, of another digest, or failing. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}

/** What an unknown value that was thrown says. */
export function saidBy(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
