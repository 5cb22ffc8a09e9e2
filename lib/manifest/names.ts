/** Words of the API as people write them: enum values in short ("Always", "virtio"), field paths in camelCase. Pure. */

/** Enums whose values KubeVirt writes in lower case. Every other one is written in CamelCase. */
const LOWER_CASE = new Set(["drover.v1.DiskBus", "drover.v1.DiskCache", "drover.v1.DiskFormat", "drover.v1.InterfaceModel"]);

/** "RERUN_ON_FAILURE" as "RerunOnFailure". */
export function camelWord(screaming: string): string {
  return screaming.split("_").map((word) => word.charAt(0) + word.slice(1).toLowerCase()).join("");
}

/** How a value of the enum is written; `localName` is its name without the enum's prefix. */
export function enumWord(enumType: string, localName: string): string {
  return LOWER_CASE.has(enumType) ? localName.toLowerCase() : camelWord(localName);
}

/** "run_strategy" as "runStrategy". */
export function camelField(snake: string): string {
  return snake.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The candidate nearest to what was written, if it is near enough to be a slip of the hand. */
export function nearest(written: string, candidates: readonly string[]): string | undefined {
  const scored = candidates.map((candidate) => ({ candidate, distance: distance(written.toLowerCase(), candidate.toLowerCase()) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(1, Math.floor(written.length / 4)) ? best.candidate : undefined;
}

/** Levenshtein's; long words are not compared, as they come from outside. */
function distance(from: string, to: string): number {
  if (from.length > 64 || to.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, replaced));
    }
    row = next;
  }
  return row[to.length]!;
}
