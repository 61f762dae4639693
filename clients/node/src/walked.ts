/** What a file says of itself before it is decoded. */
export interface Walked {
  /** The block that may hold an orientation. */
  exif: Buffer | undefined;
  /** Whether its end is missing: then that is why it cannot be decoded. */
  cut: boolean;
}
