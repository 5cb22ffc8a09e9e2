/** A dozen cells of the kill matrix, those that differ most; `npm run test:matrix` runs every one. */
import { withFleet } from "./with-fleet.ts";
import { furnish, MATRIX_FLEET, runCell } from "./matrix/run.ts";
import type { Bench } from "./matrix/run.ts";
import { cellsNamed, nameOf } from "./matrix/table.ts";

const DOZEN = [
  "Scheduling/controller/kill", "PreparingTarget/api-server/kill", "PreparingTarget/target-agent/stop", "TargetReady/source-driver/kill",
  "TargetReady/door/kill", "Running/source-agent/kill", "Running/target-driver/kill", "Running/target-libvirtd/kill", "Running/target-qemu/kill",
  "Running/passage/kill", "Running/source-link/cut", "Finalizing/target-agent/kill", "Finalizing/source-libvirtd/kill",
] as const;

describe("kill matrix", () => {
  const fleet = withFleet(MATRIX_FLEET);
  let bench: Bench;
  before(async () => {
    bench = await furnish(fleet());
  });

  for (const cell of cellsNamed(DOZEN.join(","))) {
    it(`${nameOf(cell)}: one runner, a disk without a gap or a fork, and a record that is true`, async () => {
      await runCell(bench, cell);
    });
  }
});
