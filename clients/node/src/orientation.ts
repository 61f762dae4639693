/**
 * Whether an EXIF block asks for the picture to be turned.
 *
 * Only tag 0x0112 of the first directory counts, and only as one SHORT, as browsers read it; sharp by
 * itself takes other types, too. Layout: TIFF 6.0, section 2.
 */
export function asksToBeTurned(exif: Buffer | undefined): boolean {
  if (!exif) return false;
  const block = exif.subarray(exif.toString('latin1', 0, 6) === 'Exif\0\0' ? 6 : 0);
  const order = block.toString('latin1', 0, 2);
  if (order !== 'II' && order !== 'MM') return false;
  const short = (at: number) => (order === 'II' ? block.readUInt16LE(at) : block.readUInt16BE(at));
  const long = (at: number) => (order === 'II' ? block.readUInt32LE(at) : block.readUInt32BE(at));
  try {
    const directory = long(4);
    const entries = short(directory);
    for (let entry = 0; entry < entries; entry += 1) {
      const at = directory + 2 + 12 * entry;
      if (short(at) === 0x0112 && short(at + 2) === 3 && long(at + 4) === 1) return true;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the block ends before the tag
  }
  return false;
}
