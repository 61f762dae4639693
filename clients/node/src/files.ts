import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';

/** A folder, a pipe, a device: opening it may wait, and reading it may never end. */
export class NotARegularFileError extends Error {}

/** A file with more bytes than are read. */
export class TooLargeError extends Error {}

/**
 * Reads a regular file, no more of it than its size; waits for nobody.
 *
 * @throws NotARegularFileError, TooLargeError, or what the operating system says.
 */
export async function readRegularFile(path: string, maxBytes: number): Promise<Buffer> {
  // Looked at before it is opened, because opening a device may do something, and again afterwards,
  // because it may have been exchanged.
  requireRegular((await stat(path)).isFile());
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const found = await file.stat();
    requireRegular(found.isFile());
    if (found.size > maxBytes) {
      throw new TooLargeError(`${found.size} bytes; at most ${maxBytes} are read`);
    }
    const content = Buffer.alloc(found.size);
    let filled = 0;
    while (filled < content.length) {
      const { bytesRead } = await file.read(content, filled, content.length - filled);
      if (bytesRead === 0) break; // it was cut meanwhile
      filled += bytesRead;
    }
    return content.subarray(0, filled);
  } finally {
    await file.close();
  }
}

function requireRegular(regular: boolean): void {
  if (!regular) throw new NotARegularFileError('this is not a regular file');
}
