/** Puts links where files are expected, and takes them away again, as fast as it can: for the test that races it. */
import { renameSync, rmSync, symlinkSync } from "node:fs";

const [target, ...places] = process.argv.slice(2);
let swaps = 0;
process.on("disconnect", () => process.exit());
process.on("message", () => process.send!(swaps));

function swap(): void {
  for (let round = 0; round < 50; round += 1) {
    for (const place of places) {
      attempt(() => symlinkSync(target!, `${place}-swap`));
      attempt(() => renameSync(`${place}-swap`, place));
      attempt(() => rmSync(place));
      swaps += 1;
    }
  }
  setImmediate(swap);
}

function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // The other side was faster.
  }
}

swap();
