/** Post-copy by the driver: a guest in two halves whose network is cut between them, and which is made whole again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { delay, systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import type { MigrateOptions } from "../../node-agent/libvirt/hypervisor.ts";
import { DriverHost } from "./driver-host.ts";
import { guestDomainXml } from "./guest.ts";
import { Lab } from "./lab.ts";
import { waitFor } from "./process.ts";

/** So slow that the guest's memory takes far longer than the test needs to cut the cable. */
const SLOW_MIBPS = 8;
const RELAY_PORT = 16_990;
/** QEMU at the target learns of the break only when the network is back. */
const RESUME_PAUSE_MS = 500;
const RESUME_TRIES = 20;

describe("post-copy by the libvirt driver", function () {
  this.timeout(60_000);
  const uuid = systemRandom.uuid();
  const name = "halved";
  let lab: Lab;

  let way: string;

  before(async () => {
    lab = await Lab.start({ hosts: ["a", "b"] });
    way = await wayToB();
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  /** To the target's libvirt through the cable that is cut, as through a door, and not by the file system that the hosts share. */
  async function wayToB(): Promise<string> {
    const [a, b] = [lab.host("a"), lab.host("b")];
    const [socket, address] = [join(a.directory, "to-b.sock"), `${b.address}:${RELAY_PORT}`];
    const relay = join(import.meta.dirname, "relay.ts");
    for (const [host, from, to] of [[b, address, b.socketPath], [a, socket, address]] as const) {
      const program = await host.spawn(process.execPath, [relay, from, to], { logFile: join(host.directory, "relay.log") });
      await program.waitForLine(/relaying/);
    }
    return `qemu+unix:///system?socket=${socket}`;
  }

  async function optionsFor({ hypervisor }: DriverHost): Promise<MigrateOptions> {
    return {
      destinationUri: way,
      migrationUri: `tcp://${lab.host("b").address}`,
      destinationXml: await hypervisor.xml(uuid, "migratable"),
      persistentXml: await hypervisor.xml(uuid, "inactive"),
      postCopy: true,
      bandwidthMiBps: SLOW_MIBPS,
      postCopyBandwidthMiBps: SLOW_MIBPS,
    };
  }

  /** Breaks off what QEMU may still believe in, and goes on; one attempt at a time, since a second one would be refused. */
  async function resume({ hypervisor }: DriverHost, options: MigrateOptions): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      await hypervisor.abortJob(uuid, { postCopy: true }).catch(ignoreRefusal);
      await delay(systemClock, RESUME_PAUSE_MS);
      try {
        return await hypervisor.migrate(uuid, { ...options, resumePostCopy: true, postCopyBandwidthMiBps: 1_000 });
      } catch (error) {
        if (tries === RESUME_TRIES) throw error;
        ignoreRefusal(error);
      }
    }
  }

  it("keeps both halves of a guest through a cut cable, and its memory when it goes on", async () => {
    await using a = await DriverHost.connect(lab.host("a"));
    await using b = await DriverHost.connect(lab.host("b"));
    await a.hypervisor.define(guestDomainXml({ name, uuid, guest: lab.guest, consoleLog: a.consoleLog(name) }));
    await a.hypervisor.create(uuid);
    const before = await a.tick(name, ({ count }) => count >= 2);

    const options = await optionsFor(a);
    const ended = a.hypervisor.migrate(uuid, options).then(() => "succeeded", (error: unknown) => error);
    await waitFor("memory to be copied", async () => ((await a.hypervisor.job(uuid)).memoryProcessedBytes ?? 0) > 0 || undefined);
    await a.hypervisor.startPostCopy(uuid);
    await a.stands(uuid, "paused/postcopy");
    await b.stands(uuid, "running/postcopy");
    // A guest that has begun to run elsewhere cannot be had back.
    await assert.rejects(a.hypervisor.abortJob(uuid), HypervisorError);

    // An emulated processor takes interrupts under QEMU's own lock: if the pages for that were cut off, QEMU would stand
    // still and could not be told to recover. A guest that counts has them.
    await b.tick(name, ({ count }) => count >= before.count + 1);
    await lab.host("a").cutLink();
    assert.ok((await ended) instanceof HypervisorError);
    await a.stands(uuid, "paused/postcopy-failed");
    assert.equal((await b.hypervisor.get(uuid))?.state, "running");
    await lab.host("a").restoreLink();

    await resume(a, options);
    await a.stands(uuid, "absent");
    await b.stands(uuid, "running/migrated");
    assert.equal((await b.hypervisor.get(uuid))?.persistent, true);
    const after = await b.tick(name, ({ count }) => count >= before.count + 5);
    assert.equal(after.boot, before.boot);
    await Promise.all([a.hypervisor.close(), b.hypervisor.close()]);
    assert.deepEqual([...a.faults, ...b.faults], []);
  });
});

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof HypervisorError) || error.kind === "connection-lost" || error.kind === "timeout") throw error;
}
