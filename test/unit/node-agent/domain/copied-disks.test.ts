/** Which devices are copied, and the domain as it is where an image has no base any more. */
import assert from "node:assert/strict";
import { Disk, DiskBus } from "../../../../gen/drover/v1/machine.ts";
import { DiskCopy, InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { copiedDevices, withoutBases } from "../../../../node-agent/domain/copied-disks.ts";
import { InvalidDomain } from "../../../../node-agent/domain/element.ts";
import { parseXml } from "../../../../node-agent/door/xml-tree.ts";
import { instance } from "./build.ts";

const cdrom = { $case: "cdrom" as const, value: {} };
const scsi = { $case: "disk" as const, value: { bus: DiskBus.SCSI } };

function copying(volumes: string[], diskCopy: DiskCopy = DiskCopy.OVERLAYS): VirtualMachineInstance {
  const disks = [Disk.create({ name: "root" }), Disk.create({ name: "seed", device: cdrom }), Disk.create({ name: "data" }), Disk.create({ name: "wide", device: scsi })];
  const made = instance({ devices: { disks } });
  made.status!.migration = InstanceMigration.create({ copiedDisks: volumes.map((volume) => ({ volume })), target: { diskCopy } });
  return made;
}

describe("the devices that are copied", () => {
  it("have the names that the board gives them", () => {
    assert.deepEqual(copiedDevices(copying(["data", "wide", "root"])), { devices: ["vdb", "sdb", "vda"], how: "overlays" });
    assert.deepEqual(copiedDevices(copying(["root"], DiskCopy.FULL)), { devices: ["vda"], how: "full" });
  });

  it("are none without a migration, or where all is shared", () => {
    assert.equal(copiedDevices(instance()), undefined);
    assert.equal(copiedDevices(copying([], DiskCopy.UNSPECIFIED)), undefined);
  });

  it("are not guessed", () => {
    assert.throws(() => copiedDevices(copying(["root"], DiskCopy.UNSPECIFIED)), InvalidDomain);
    assert.throws(() => copiedDevices(copying(["other"])), InvalidDomain);
  });
});

describe("a domain without bases", () => {
  const disk = (device: string, chain: string) => `<disk type="file" device="disk"><source file="/pool/${device}"/>${chain}<target dev="${device}" bus="virtio"/></disk>`;
  const chain = `<backingStore type="file"><format type="raw"/><source file="/pool/base"/><backingStore/></backingStore>`;
  const domain = (...disks: string[]) => `<domain type="kvm"><name>web</name><devices><emulator>/qemu</emulator>${disks.join("")}</devices></domain>`;

  it("has its copied disks standing alone, and the others as they were", () => {
    const flat = withoutBases(domain(disk("vda", chain), disk("vdb", chain)), ["vda"]);
    assert.deepEqual(parseXml(flat), parseXml(domain(disk("vda", "<backingStore/>"), disk("vdb", chain))));
  });

  it("is the same where there was no base", () => {
    const text = domain(disk("vda", "<backingStore/>"));
    assert.deepEqual(parseXml(withoutBases(text, ["vda"])), parseXml(text));
  });
});
