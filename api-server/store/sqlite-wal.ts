/**
 * Damage in the write-ahead log. SQLite reads the log up to the first frame that fails its checksum and silently takes
 * that for its end, so one flipped bit loses every commit after it. This tells such a loss from the torn end of a crash:
 * only the last transaction can be unsynced, so two commits behind a bad frame mean that acknowledged ones are gone.
 * The format: sqlite.org/fileformat2.html, section 4.
 */
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC = 0x377f0682;

type Sum = readonly [number, number];

export function lostCommits(log: Buffer): boolean {
  if (log.length < HEADER_BYTES) return false;
  const bigEndian = (log.readUInt32BE(0) & 1) === 1;
  const headerSum = sum(log.subarray(0, 24), [0, 0], bigEndian);
  if ((log.readUInt32BE(0) & ~1) !== MAGIC || !holds(log, 24, headerSum)) return log.length > HEADER_BYTES;
  const frameBytes = FRAME_HEADER_BYTES + log.readUInt32BE(8);
  let running: Sum | undefined = headerSum;
  let commitsBehind = 0;
  for (let at = HEADER_BYTES; at + frameBytes <= log.length; at += frameBytes) {
    // Frames of an earlier round of the log carry other salts.
    const current = log.compare(log, 16, 24, at + 8, at + 16) === 0;
    if (running !== undefined && current) running = frameSum(log.subarray(at, at + frameBytes), running, bigEndian);
    else running = undefined;
    const isCommit = log.readUInt32BE(at + 4) !== 0;
    if (running === undefined && current && isCommit) commitsBehind++;
  }
  return commitsBehind > 1;
}

/** Undefined for a frame that fails its checksum. */
function frameSum(frame: Buffer, before: Sum, bigEndian: boolean): Sum | undefined {
  const head = sum(frame.subarray(0, 8), before, bigEndian);
  const whole = sum(frame.subarray(FRAME_HEADER_BYTES), head, bigEndian);
  return holds(frame, 16, whole) ? whole : undefined;
}

function holds(bytes: Buffer, at: number, [first, second]: Sum): boolean {
  return bytes.readUInt32BE(at) === first && bytes.readUInt32BE(at + 4) === second;
}

function sum(bytes: Buffer, [first, second]: Sum, bigEndian: boolean): Sum {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 8) {
    first = (first + words.getUint32(at, !bigEndian) + second) >>> 0;
    second = (second + words.getUint32(at + 4, !bigEndian) + first) >>> 0;
  }
  return [first, second];
}
