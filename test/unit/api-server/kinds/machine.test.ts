/** What a machine may be made of: one row for each rule, each with the path that must be named. */
import assert from "node:assert/strict";
import {
  CpuSpec, DiskBus, DiskFormat, type InterfaceModel, MachineSpec as Board, TolerationOperator, type VirtualMachineVolume,
} from "../../../../gen/drover/v1/machine.ts";
import { macAddressOf } from "../../../../api-server/kinds/machine/defaults.ts";
import { virtualMachines } from "../../../../api-server/kinds/table.ts";
import { callBy, edited, faultPaths, type MachineSpec, machine, makeObjects, rules, user } from "../fixture.ts";

const SPEC = "virtual_machine.spec.template.spec";
const pool = (disk: object) => (spec: MachineSpec) => {
  const source = spec.volumes[0]!.source!;
  Object.assign(source.value as object, disk);
};
const extra = (volume: VirtualMachineVolume) => (spec: MachineSpec) => {
  spec.volumes.push(volume);
  spec.domain!.devices!.disks.push({ ...spec.domain!.devices!.disks[0]!, name: volume.name });
};
const empty = (name: string, capacity: string): VirtualMachineVolume => ({ name, source: { $case: "emptyDisk", value: { capacity } } });

const rows: [string, (spec: MachineSpec) => void, string[]][] = [
  ["no memory", (spec) => { spec.domain!.memory = undefined; }, ["domain.memory"]],
  ["memory that is no quantity", (spec) => { spec.domain!.memory!.guest = "4 GB"; }, ["domain.memory.guest"]],
  ["negative memory", (spec) => { spec.domain!.memory!.guest = "-1Gi"; }, ["domain.memory.guest"]],
  ["memory beyond 2^64", (spec) => { spec.domain!.memory!.guest = "99999999999999999999999"; }, ["domain.memory.guest"]],
  ["memory that is no whole KiB", (spec) => { spec.domain!.memory!.guest = "1048577"; }, ["domain.memory.guest"]],
  ["too many processors in all", (spec) => { spec.domain!.cpu = CpuSpec.create({ sockets: 64, cores: 16, threads: 1 }); }, ["domain.cpu"]],
  ["too many sockets", (spec) => { spec.domain!.cpu = CpuSpec.create({ sockets: 4_294_967_295 }); }, ["domain.cpu.sockets", "domain.cpu"]],
  ["a CPU model with markup", (spec) => { spec.domain!.cpu = CpuSpec.create({ model: "<x/>" }); }, ["domain.cpu.model"]],
  ["another board", (spec) => { spec.domain!.machine = Board.create({ type: "microvm" }); }, ["domain.machine.type"]],
  ["an unknown time zone", (spec) => { spec.domain!.clock = { base: { $case: "timezone", value: "Mars/Base" } }; }, ["domain.clock.timezone"]],
  ["a firmware UUID that is none", (spec) => { spec.domain!.firmware = { uuid: "x", serial: "", bootloader: undefined, kernelBoot: undefined }; }, ["domain.firmware.uuid"]],
  ["a kernel outside its pool", (spec) => {
    spec.domain!.firmware = { uuid: "", serial: "", bootloader: undefined, kernelBoot: { pool: "default", kernel: "../vmlinuz", initrd: "/initrd", kernelArgs: "" } };
  }, ["domain.firmware.kernel_boot.kernel", "domain.firmware.kernel_boot.initrd"]],
  ...["/etc/passwd", "../up", "a/b", ".hidden", "json:{}", "nbd:x", "a b", "a\u0000b", "x".repeat(129)].map((image): (typeof rows)[number] => [
    `the image ${JSON.stringify(image.slice(0, 12))}`, pool({ image }), ["volumes[0].disk.image"],
  ]),
  ["a base image outside its pool", pool({ baseImage: "../base.qcow2" }), ["volumes[0].disk.base_image"]],
  ["an image that is its own base", pool({ image: "a.qcow2", baseImage: "a.qcow2" }), ["volumes[0].disk.base_image"]],
  ["a raw overlay", pool({ baseImage: "base.qcow2", format: DiskFormat.RAW }), ["volumes[0].disk.format"]],
  ["a new disk without a size", pool({ size: "" }), ["volumes[0].disk.size"]],
  ["a disk of zero bytes", pool({ size: "0" }), ["volumes[0].disk.size"]],
  ["a disk that ends in the middle of a sector", pool({ size: "1048577" }), ["volumes[0].disk.size"]],
  ["an unknown format", pool({ format: 77 }), ["volumes[0].disk.format"]],
  ["an empty disk without a size", extra(empty("scratch", "")), ["volumes[2].empty_disk.capacity"]],
  ["an empty disk that is larger than any", extra(empty("scratch", "65Ti")), ["volumes[2].empty_disk.capacity"]],
  ["one image twice", extra({ name: "two", source: { $case: "disk", value: { pool: "default", image: "default_web_root.qcow2", format: 1, size: "1Gi", baseImage: "", baseFormat: 0 } } }), ["volumes[2].disk.image"]],
  ["two disks of one name", (spec) => { spec.domain!.devices!.disks.push(spec.domain!.devices!.disks[0]!); }, ["domain.devices.disks[2].name"]],
  ["two volumes of one name", (spec) => { spec.volumes.push({ ...empty("root", "1Mi") }); }, ["volumes[2].name"]],
  ["a disk without a volume", (spec) => { spec.volumes = spec.volumes.slice(1); }, ["domain.devices.disks[0].name"]],
  ["a volume without a disk", (spec) => { spec.volumes.push(empty("lone", "1Mi")); }, ["volumes[2].name"]],
  ["a volume of nothing", (spec) => { spec.volumes[0]!.source = undefined; }, ["volumes[0].source"]],
  ["a CD-ROM on virtio", (spec) => { spec.domain!.devices!.disks[1]!.device = { $case: "cdrom", value: { bus: DiskBus.VIRTIO } }; }, ["domain.devices.disks[1].cdrom.bus"]],
  ["a read-only disk on sata", (spec) => {
    spec.domain!.devices!.disks[0]!.device = { $case: "disk", value: { bus: DiskBus.SATA, readonly: true } };
  }, ["domain.devices.disks[0].disk.readonly"]],
  ["an unknown bus", (spec) => { spec.domain!.devices!.disks[0]!.device = { $case: "disk", value: { bus: 99 as DiskBus, readonly: false } }; }, ["domain.devices.disks[0].disk.bus"]],
  ["one boot order twice", (spec) => {
    spec.domain!.devices!.disks[0]!.bootOrder = 1;
    spec.domain!.devices!.interfaces[0]!.bootOrder = 1;
  }, ["domain.devices.interfaces[0].boot_order"]],
  ["a serial with markup", (spec) => { spec.domain!.devices!.disks[0]!.serial = "a<b&c"; }, ["domain.devices.disks[0].serial"]],
  ["a multicast MAC", (spec) => { spec.domain!.devices!.interfaces[0]!.macAddress = "01:23:45:67:89:ab"; }, ["domain.devices.interfaces[0].mac_address"]],
  ["one MAC twice, however it is spelt", (spec) => {
    const card = spec.domain!.devices!.interfaces[0]!;
    spec.domain!.devices!.interfaces = [{ ...card, macAddress: "52:54:00:AA:00:01" }, { ...card, name: "two", macAddress: "52:54:00:aa:00:01" }];
    spec.networks.push({ name: "two", source: { $case: "user", value: {} } });
  }, ["domain.devices.interfaces[1].mac_address"]],
  ["an interface without a network", (spec) => { spec.networks = []; }, ["domain.devices.interfaces[0].name"]],
  ["masquerade on a bridge", (spec) => {
    spec.networks[0]!.source = { $case: "bridge", value: { bridgeName: "br0" } };
    spec.domain!.devices!.interfaces[0]!.binding = { $case: "masquerade", value: {} };
  }, ["domain.devices.interfaces[0].masquerade"]],
  ["a bridge with markup in its name", (spec) => { spec.networks[0]!.source = { $case: "bridge", value: { bridgeName: "br0'/>" } }; }, ["networks[0].bridge.bridge_name"]],
  ["an unknown card", (spec) => { spec.domain!.devices!.interfaces[0]!.model = 50 as InterfaceModel; }, ["domain.devices.interfaces[0].model"]],
  ["a node selector that is no label", (spec) => { spec.nodeSelector = { "a b": "c d" }; }, ['node_selector["a b"]', 'node_selector["a b"]']],
  ["a toleration without a key", (spec) => { spec.tolerations = [{ key: "", operator: TolerationOperator.EQUAL, value: "x", effect: 0 }]; }, ["tolerations[0].key"]],
  ["a toleration with a value that Exists ignores", (spec) => { spec.tolerations = [{ key: "a", operator: TolerationOperator.EXISTS, value: "x", effect: 0 }]; }, ["tolerations[0].value"]],
  ["a grace of two days", (spec) => { spec.terminationGracePeriodSeconds = 172_800; }, ["termination_grace_period_seconds"]],
];

describe("a machine's spec", () => {
  for (const [title, edit, paths] of rows) {
    it(`refuses ${title}`, async () => {
      const { objects, store } = await makeObjects();
      const head = await store.head();
      const found = await faultPaths(objects.create(virtualMachines, edited(machine(), edit), callBy(user)));
      // A control character is a fault of its own, beside the form of the name.
      assert.deepEqual([...new Set(found)].sort(), [...new Set(paths.map((path) => `${SPEC}.${path}`))].sort());
      assert.equal(await store.head(), head);
    });
  }

  it("refuses control characters wherever text goes, but lets secrets and annotations have lines", () => {
    const vm = edited(machine({ userData: "a: 1\n\tb: 2\n" }), (spec) => {
      spec.nodeSelector = { zone: "a\u001b" };
      spec.domain!.cpu = CpuSpec.create({ model: "a\u0085" });
    });
    vm.metadata!.annotations = { note: "line\nline", bad: "bell\u0007" };
    const paths = rules.check("drover.v1.VirtualMachine", virtualMachines.codec.encode(vm).finish()).map(({ path }) => path);
    assert.deepEqual([...new Set(paths)].sort(), [
      'metadata.annotations["bad"]', "spec.template.spec.domain.cpu.model", 'spec.template.spec.node_selector["zone"]',
    ]);
  });

  it("derives one unicast, local MAC address from machine and card", () => {
    assert.equal(macAddressOf("uid", "net"), macAddressOf("uid", "net"));
    assert.notEqual(macAddressOf("uid", "net"), macAddressOf("uid", "net2"));
    assert.notEqual(macAddressOf("uid", "net"), macAddressOf("uid2", "net"));
    for (let i = 0; i < 200; i += 1) assert.equal(Number.parseInt(macAddressOf(`u${i}`, "n").slice(0, 2), 16) & 3, 2);
  });
});
