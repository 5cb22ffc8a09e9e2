/** Parts that die while a machine's disks are copied: the bytes are in one place afterwards, whole, and nowhere else. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { faultsOf, recordIsTrue } from "./faults.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const SLOW_MIBPS = 8;
const MIB = 1 << 20;
const BULK_BYTES = 40 * MIB;
const BLOCK_BYTES = 512;
const IMAGES = ["bulk.raw", "root.raw"];
const LEFTOVER_TIMEOUT_MS = 90_000;

const NBD_GREETING = "NBDMAGICIHAVEOPT";
const OPTION_LIST = 3;
const ANSWER_TIMEOUT_MS = 10_000;
const TLS_REQUIRED = 0x8000_0005;

const volumes = [
  { name: "root", disk: { pool: "local", image: "root.raw", size: "4Mi", format: "raw" } },
  { name: "bulk", disk: { pool: "local", image: "bulk.raw", size: `${BULK_BYTES / MIB}Mi`, format: "raw" } },
];

describe("a machine whose disks are being copied", () => {
  const fleet = withFleet();
  let machine: Machine;

  before(async () => {
    writeFileSync(path("a", "bulk.raw"), Buffer.alloc(BULK_BYTES, "bulk"));
    await fleet().drover("node", "cordon", "b");
    machine = await Machine.running(fleet(), "bulky", { volumes });
    await fleet().drover("node", "uncordon", "b");
  });

  const pool = (name: string): string => join(fleet().lab.host(name).localDirectory, "pool");
  const path = (name: string, image: string): string => join(pool(name), image);
  const imagesOn = (name: string): string[] => readdirSync(pool(name)).filter((file) => !file.startsWith(".")).toSorted();

  /** Answers when some of the bytes have arrived, and most have not. */
  async function underWay(): Promise<{ migration: string; source: string; target: string }> {
    await machine.until("no migration to be open", (instance) => instance?.status?.migration === undefined, 90_000);
    const source = await machine.node();
    const target = source === "a" ? "b" : "a";
    const migration = await machine.migrate({ to: target, bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    await waitFor("bytes to arrive", () => {
      const arrived = imagesOn(target).includes("bulk.raw") ? statSync(path(target, "bulk.raw")).blocks * BLOCK_BYTES : 0;
      return (arrived > MIB && arrived < BULK_BYTES) || undefined;
    });
    return { migration, source, target };
  }

  async function settled(migration: string): Promise<void> {
    const { status } = await machine.migrationEnds(migration, 120_000);
    const moved = status!.phase === MigrationPhase.SUCCEEDED;
    assert.ok(moved || status!.phase === MigrationPhase.FAILED, `phase ${status!.phase}`);
    const [owner, other] = moved ? [status!.targetNode, status!.sourceNode] : [status!.sourceNode, status!.targetNode];
    assert.equal(await machine.node(), owner);
    await waitFor(`the disks to be on ${owner} alone`, () => (imagesOn(owner).join() === IMAGES.join() && imagesOn(other).length === 0) || undefined, { timeoutMs: LEFTOVER_TIMEOUT_MS });
    assert.ok(readFileSync(path(owner, "bulk.raw")).equals(Buffer.alloc(BULK_BYTES, "bulk")), "every byte is there");
  }

  it("sends them to nobody who has no certificate of QEMU's", async () => {
    const before = await machine.tick(() => true);
    const { migration, target } = await underWay();
    const { address } = fleet().lab.host(target);
    const listening = (await fleet().lab.host(target).run("ss", ["-H", "-l", "-t", "-n"])).matchAll(new RegExp(`${address.replaceAll(".", "\\.")}:(\\d+)`, "g"));
    const ports = [...listening].map(([, port]) => Number(port));
    const answers = await Promise.all(ports.map((port) => askForDisks(address, port)));
    assert.equal(answers.filter((answer) => answer === TLS_REQUIRED).length, 1, `at ${ports.join()}: ${answers.join()}`);
    await settled(migration);
    await machine.assertUnharmed(before);
  });

  const parts = ["target agent", "source agent", "target libvirtd", "source libvirtd", "controller"];
  for (const part of parts) {
    it(`${part}: one place has the bytes, and the guest goes on there`, async () => {
      const before = await machine.tick(() => true);
      const { migration, source, target } = await underWay();
      const name = part.replace(/(source|target) (.*)/, (_, side: string, rest: string) => `${rest} ${side === "source" ? source : target}`);
      const fault = faultsOf(fleet(), ["a", "b"]).find((candidate) => candidate.name === name);
      assert.ok(fault, name);
      await fault.strike();
      await fault.mend();
      await recordIsTrue(fleet(), machine);
      await settled(migration);
      await machine.assertUnharmed(before);
    });
  }
});

/** What a server for disks says to whoever asks for its list in the clear, or why there is no answer. */
function askForDisks(host: string, port: number): Promise<number | string> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    let asked = false;
    const socket = connect({ host, port });
    const end = (answer: number | string) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("error", ({ message }) => end(message)).on("close", () => end(`closed after ${received.length} bytes`)).setTimeout(ANSWER_TIMEOUT_MS, () => end(`nothing in time after ${received.length} bytes`));
    socket.on("data", (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (!received.toString("latin1").startsWith(NBD_GREETING)) return received.length >= NBD_GREETING.length ? end("no server for disks") : undefined;
      if (received.length >= 18 + 20) return end(received.readUInt32BE(18 + 12));
      if (asked || received.length < 18) return undefined;
      asked = true;
      const question = Buffer.alloc(20);
      question.writeUInt32BE(1, 0);
      question.write("IHAVEOPT", 4, "latin1");
      question.writeUInt32BE(OPTION_LIST, 12);
      return void socket.write(question);
    });
  });
}
