/** Kubernetes quantities, exact: "4Gi" and "1500M" to bytes and back. Pure. */

const FACTORS: Record<string, bigint> = {
  "": 1n, k: 1000n, K: 1000n, M: 1000n ** 2n, G: 1000n ** 3n, T: 1000n ** 4n, P: 1000n ** 5n, E: 1000n ** 6n,
  Ki: 1024n, Mi: 1024n ** 2n, Gi: 1024n ** 3n, Ti: 1024n ** 4n, Pi: 1024n ** 5n, Ei: 1024n ** 6n,
};

const FORM = /^(\d{1,30})(?:\.(\d{1,30}))?([kKMGTPE]|[KMGTPE]i)?$/;

/** Bytes, or undefined when the text is no quantity or not a whole number of bytes. Never rounds. */
export function parseQuantity(text: string): bigint | undefined {
  const match = FORM.exec(text);
  const factor = match ? FACTORS[match[3] ?? ""] : undefined;
  if (!match || factor === undefined) return undefined;
  const fraction = match[2] ?? "";
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(match[1]! + fraction) * factor;
  return scaled % scale === 0n ? scaled / scale : undefined;
}

/** Bytes as a number, for quantities that admission has already bounded; throws on one that it has not. */
export function quantityBytes(text: string): number {
  const bytes = parseQuantity(text);
  if (bytes === undefined || bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`"${text}" is no quantity within range`);
  return Number(bytes);
}

/** For people, where figures of one size stand beside each other: "512 MiB". */
export const mebibytes = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MiB`;

/** For people: the largest binary unit that leaves at most one decimal, such as "1.5Gi". */
export function formatBytes(bytes: number): string {
  const units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)}${units[unit]}`;
}
