/** Storage copied by the driver: an overlay over a base that both hosts have, each on a disk of its own. */
import assert from "node:assert/strict";
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemRandom } from "../../lib/random.ts";
import { DriverHost } from "./driver-host.ts";
import { GUEST_DISK_RECORD_OFFSET, guestDomainXml } from "./guest.ts";
import { Lab } from "./lab.ts";

const SECTOR_BYTES = 512;
const DISK_BYTES = 64 << 20;
const BASE_OFFSET = 8 << 20;
const OVERLAY_OFFSET = 16 << 20;
const BASE_TEXT = "written to the base";
const OVERLAY_TEXT = "written to the overlay before the move";
/** An overlay that had taken the base's megabytes along would be larger. */
const OVERLAY_BYTES_MAX = 4 << 20;
const FILLED_BYTES = 16 << 20;

describe("storage copied by the libvirt driver", function () {
  this.timeout(60_000);
  const uuid = systemRandom.uuid();
  const name = "copied";
  let lab: Lab;

  before(async () => {
    lab = await Lab.start({ hosts: ["a", "b"] });
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  const sharedDisk = () => join(lab.poolDirectory, "shared.raw");

  /** The same base and an empty overlay over it, at one path on each host and on no disk that they share. */
  async function prepare({ lab: host }: DriverHost): Promise<string> {
    const [base, overlay] = [join(host.localMount, "base.raw"), join(host.localMount, "overlay.qcow2")];
    const outside = join(host.localDirectory, "base.raw");
    await writeFile(outside, Buffer.alloc(FILLED_BYTES, 1));
    await truncate(outside, DISK_BYTES);
    writeAt(outside, BASE_OFFSET, BASE_TEXT.padEnd(SECTOR_BYTES));
    await host.run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay]);
    return overlay;
  }

  const domainXml = ({ lab: host }: DriverHost, overlay: string) =>
    guestDomainXml({ name, uuid, guest: lab.guest, consoleLog: join(host.localMount, `${name}.log`) }).replace(
      "<devices>",
      `<devices>${diskXml({ path: overlay, format: "qcow2", target: "vda" })}${diskXml({ path: sharedDisk(), format: "raw", target: "vdb" })}`,
    );

  /** What a guest of this host would read, through the overlay and its base. */
  async function contents({ lab: host }: DriverHost, overlay: string): Promise<string> {
    await host.run("qemu-img", ["convert", "-U", "-O", "raw", overlay, join(host.localMount, "whole.raw")]);
    return join(host.localDirectory, "whole.raw");
  }

  /** Block nodes as a libvirtd leaves them that was killed in a copy. */
  async function leaveNodesOfACopy({ lab: host }: DriverHost): Promise<void> {
    const layers = [{ driver: "null-co", "node-name": "migration-vda-storage" }, { driver: "raw", "node-name": "migration-vda-format", file: "migration-vda-storage" }];
    for (const node of layers) await host.virsh("qemu-monitor-command", name, JSON.stringify({ execute: "blockdev-add", arguments: node }));
  }

  it("copies only the overlay's own clusters, into one that lies ready over the same base, whatever an earlier copy left", async () => {
    await using a = await DriverHost.connect(lab.host("a"));
    await using b = await DriverHost.connect(lab.host("b"));
    await writeFile(sharedDisk(), "");
    await truncate(sharedDisk(), 8 << 20);
    const [overlay] = await Promise.all([prepare(a), prepare(b)]);
    const patch = join(lab.directory, "patch.raw");
    await writeFile(patch, OVERLAY_TEXT.padEnd(SECTOR_BYTES));
    await a.lab.run("qemu-io", ["-f", "qcow2", "-c", `write -q -s ${patch} ${OVERLAY_OFFSET} ${SECTOR_BYTES}`, overlay]);

    await a.hypervisor.define(domainXml(a, overlay));
    await a.hypervisor.create(uuid);
    const before = await a.tick(name, ({ count }) => count >= 2);
    await leaveNodesOfACopy(a);
    await a.hypervisor.migrate(uuid, {
      destinationUri: b.lab.directUri,
      migrationUri: `tcp://${b.lab.address}`,
      destinationXml: await a.hypervisor.xml(uuid, "migratable"),
      persistentXml: await a.hypervisor.xml(uuid, "inactive"),
      tls: true,
      tlsDestination: "b",
      disksKnownShared: true,
      copyStorage: "incremental",
      copyDisks: ["vda"],
    });
    assert.equal(await a.hypervisor.get(uuid), undefined);
    const arrived = await b.tick(name, ({ count }) => count > before.count);
    const after = await b.tick(name, ({ count }) => count > arrived.count + 2);
    assert.equal(after.boot, before.boot);
    await b.hypervisor.destroy(uuid);

    const [left, moved] = [await contents(a, overlay), await contents(b, overlay)];
    assert.deepEqual([textAt(moved, BASE_OFFSET), textAt(moved, OVERLAY_OFFSET)], [BASE_TEXT, OVERLAY_TEXT]);
    assert.ok(recordedCount(moved, before.boot) > recordedCount(left, before.boot), "the guest did not write on at its new disk");
    const { "actual-size": bytes } = JSON.parse(await b.lab.run("qemu-img", ["info", "--output", "json", overlay])) as { "actual-size": number };
    assert.ok(bytes < OVERLAY_BYTES_MAX, `the overlay has grown to ${bytes} bytes`);
    await Promise.all([a.hypervisor.close(), b.hypervisor.close()]);
    assert.deepEqual([...a.faults, ...b.faults], []);
  });
});

function diskXml({ path, format, target }: { path: string; format: "raw" | "qcow2"; target: string }): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='${format}' cache='none'/><source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`;
}

function writeAt(path: string, offset: number, text: string): void {
  const file = openSync(path, "r+");
  writeSync(file, text, offset);
  fsyncSync(file);
  closeSync(file);
}

/** The text of the sector at `offset`, without the blanks that pad it. */
function textAt(path: string, offset: number): string {
  const [file, sector] = [openSync(path, "r"), Buffer.alloc(SECTOR_BYTES)];
  readSync(file, sector, 0, sector.length, offset);
  closeSync(file);
  return sector.toString("latin1").trimEnd();
}

/** How often that boot of the guest had written its record. */
function recordedCount(path: string, boot: string): number {
  const record = /^drover-guest boot=(\S+) count=(\d+)/.exec(textAt(path, GUEST_DISK_RECORD_OFFSET));
  assert.equal(record?.[1], boot);
  return Number(record[2]);
}
