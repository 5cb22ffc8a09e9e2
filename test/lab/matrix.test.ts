/** A dozen cells of the kill matrix, those that differ most; `npm run test:matrix` runs every one. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { guestDomainXml } from "./guest.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";
import { stopProcesses } from "./matrix/hold.ts";
import { furnish, MATRIX_FLEET, runCell } from "./matrix/run.ts";
import type { Bench } from "./matrix/run.ts";
import { cellsNamed, nameOf } from "./matrix/table.ts";
import { Watch } from "./matrix/watch.ts";

const DOZEN = [
  "Scheduling/controller/kill", "PreparingTarget/api-server/kill", "PreparingTarget/target-agent/stop", "TargetReady/source-driver/kill",
  "TargetReady/door/kill", "Running/source-agent/kill", "Running/target-driver/kill", "Running/target-libvirtd/kill", "Running/target-qemu/kill",
  "Running/passage/kill", "Running/source-link/cut", "Finalizing/target-agent/kill", "Finalizing/source-libvirtd/kill",
] as const;

describe("kill matrix of the handoff", () => {
  const fleet = withFleet(MATRIX_FLEET);
  let bench: Bench;
  before(async () => {
    bench = await furnish(fleet());
  });

  it("would have seen the machine run twice", async () => {
    const { machine, log } = bench;
    const uuid = await machine.uuid();
    const [owner, other] = ((await machine.node()) === "a" ? ["a", "b"] : ["b", "a"]).map((name) => fleet().lab.host(name));
    const letGo = stopProcesses([fleet().agent(other!.name).pid]); // It would end the copy at once.
    try {
      await using watch = new Watch({ hosts: [owner!, other!], uuid, log });
      // QEMU's own lock keeps a second one from the disk, as long as the hosts are one Linux.
      const copy = join(fleet().lab.directory, "copy.xml");
      writeFileSync(copy, guestDomainXml({ name: "copy", uuid, guest: fleet().lab.guest, consoleLog: join(other!.localMount, "copy.log") }));
      await other!.virsh("create", copy);
      await waitFor("it to be seen", () => watch.faults.length > 0 || undefined);
      assert.match((await watch.end({ restart: false })).join(), /ran on . and . at once/);
    } finally {
      await other!.virsh("destroy", uuid).finally(letGo);
    }
  });

  for (const cell of cellsNamed(DOZEN.join(","))) {
    it(`${nameOf(cell)}: one runner, a disk without a gap or a fork, and a record that is true`, async () => {
      await runCell(bench, cell);
    });
  }
});
