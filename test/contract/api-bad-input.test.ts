/** What the API refuses of a machine's spec: the code, every field, what is allowed, and nothing recorded. */
import assert from "node:assert/strict";
import { DiskBus } from "../../gen/drover/v1/machine.ts";
import type { PoolDisk } from "../../gen/drover/v1/machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { changed, SPEC, wholeMachine } from "./api-machine.ts";
import type { MachineSpec } from "./api-machine.ts";
import { assertInvalid, leavingNothing, ONCE, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";

const DEVICES = `${SPEC}.domain.devices`;
const LABEL = /1 to 63 characters of a-z, 0-9 and "-"/;
const LABEL_KEY = /1 to 63 characters of A-Z, a-z, 0-9, "-", "_" and "\."/;
const LABEL_VALUE = /at most 63 characters of A-Z/;
const SIZE = /from 1Mi to 16Ti that is a multiple of 512 bytes/;
const MEMORY = /from 1Mi to 16Ti that is a multiple of 1024 bytes/;
const FILE = /name of a file in the pool: 1 to 128 characters/;
const ENUM = /defined enum values|one of the defined/;
/** An enum value of a newer peer, or of nobody. */
const UNKNOWN = 99 as never;

const poolDisk = (spec: MachineSpec): PoolDisk => {
  const { source } = spec.volumes[0]!;
  return source?.$case === "disk" ? source.value : assert.fail("The first volume is a pool's");
};

type Faults = Record<string, RegExp>;
type SpecCase = [what: string, change: (spec: MachineSpec) => void, faults: Faults];

/** Exact at 64 bits and beyond: no neighbour of a bound is rounded into it. */
const NO_SIZES = ["0", "-1", "1048575", "1Ki", "17179869185Ki", "64Ti1", "60Ti", "9223372036854775807", "9223372036854775808", "18446744073709551617", "1e9", " 1Gi", "1GiB", "NaN", "1.00000000001Gi"];
const NO_FILES = ["/etc/shadow", "..", "../other.img", "a/b", "a/../../b", ".hidden", "json:{\"driver\":\"raw\"}", "nbd:localhost", "fat:rw:x", "a b", "a\\b", "x".repeat(129)];
const NO_LABELS = ["-a", "a-", "A", "a_b", "a.b", "a b", "ä", "x".repeat(64), "a/b", ""];

const specCases: SpecCase[] = [
  ...NO_SIZES.map((size): SpecCase => [`a disk of ${size}`, (spec) => { poolDisk(spec).size = size; }, { [`${SPEC}.volumes[0].disk.size`]: SIZE }]),
  ...["", ...NO_SIZES].map((size): SpecCase => [`an empty disk of "${size}"`, (spec) => {
    spec.volumes[1]!.source = { $case: "emptyDisk", value: { capacity: size } };
  }, { [`${SPEC}.volumes[1].empty_disk.capacity`]: SIZE }]),
  ...["", "17592186044417Ki", "1025Ki1", "1536", ...NO_SIZES].map((guest): SpecCase => [`memory of "${guest}"`, (spec) => { spec.domain!.memory!.guest = guest; }, { [`${SPEC}.domain.memory.guest`]: MEMORY }]),
  ...NO_FILES.map((file): SpecCase => [`the image ${file}`, (spec) => { poolDisk(spec).image = file; }, { [`${SPEC}.volumes[0].disk.image`]: FILE }]),
  ...NO_FILES.map((file): SpecCase => [`the base image ${file}`, (spec) => { poolDisk(spec).baseImage = file; }, { [`${SPEC}.volumes[0].disk.base_image`]: FILE }]),
  ...NO_FILES.map((file): SpecCase => [`the kernel and initrd ${file}`, (spec) => { Object.assign(spec.domain!.firmware!.kernelBoot!, { kernel: file, initrd: file }); }, {
    [`${SPEC}.domain.firmware.kernel_boot.kernel`]: FILE, [`${SPEC}.domain.firmware.kernel_boot.initrd`]: FILE,
  }]),
  ...["/", "..", "../x", "a/b", "-a", "x".repeat(64), ""].map((pool): SpecCase => [`the pool "${pool}"`, (spec) => { poolDisk(spec).pool = pool; }, { [`${SPEC}.volumes[0].disk.pool`]: /name of a pool: 1 to 63 characters/ }]),
  ["a base image that is the image", (spec) => { poolDisk(spec).baseImage = "root.qcow2"; }, { [`${SPEC}.volumes[0].disk.base_image`]: /another file than the image/ }],
  ["two volumes in one image", (spec) => { spec.volumes[1]!.source = { $case: "disk", value: { ...poolDisk(spec), baseImage: "", baseFormat: 0 } }; }, { [`${SPEC}.volumes[1].disk.image`]: /unique: "default\/root\.qcow2" is also at/ }],
  ["two disks and two volumes of one name", (spec) => {
    spec.domain!.devices!.disks[1]!.name = "root";
    spec.volumes[1]!.name = "root";
  }, { [`${DEVICES}.disks[1].name`]: /must be unique: "root"/, [`${SPEC}.volumes[1].name`]: /must be unique: "root"/ }],
  ["a disk without a volume, a volume without a disk", (spec) => { spec.domain!.devices!.disks[1]!.name = "other"; }, {
    [`${DEVICES}.disks[1].name`]: /none called "other"/, [`${SPEC}.volumes[1].name`]: /no disk is called "scratch"/,
  }],
  ["two of one boot order", (spec) => { spec.domain!.devices!.interfaces[0]!.bootOrder = 1; }, { [`${DEVICES}.interfaces[0].boot_order`]: /must be unique: "1" is also at .*disks\[0\]\.boot_order/ }],
  ["a boot order of 65", (spec) => { spec.domain!.devices!.disks[0]!.bootOrder = 65; }, { [`${DEVICES}.disks[0].boot_order`]: /less than or equal to 64/ }],
  ["two of one MAC address, in whatever case", (spec) => {
    spec.domain!.devices!.interfaces[0]!.macAddress = "02:00:00:00:00:AB";
    spec.domain!.devices!.interfaces[1]!.macAddress = "02:00:00:00:00:ab";
  }, { [`${DEVICES}.interfaces[1].mac_address`]: /must be unique/ }],
  ...["01:00:00:00:00:01", "00:00:00:00:00:00", "02-00-00-00-00-01", "02:00:00:00:00", "zz:00:00:00:00:00"].map((mac): SpecCase =>
    [`the MAC address ${mac}`, (spec) => { spec.domain!.devices!.interfaces[0]!.macAddress = mac; }, { [`${DEVICES}.interfaces[0].mac_address`]: /six hexadecimal pairs/ }]),
  ["too many processors together", (spec) => { spec.domain!.cpu = { sockets: 512, cores: 2, threads: 1, model: "" }; }, { [`${SPEC}.domain.cpu`]: /at most 512 processors: .* is 1024/ }],
  ["counts beyond every bound", (spec) => { spec.domain!.cpu = { sockets: 4_294_967_295, cores: 513, threads: 9, model: "" }; }, {
    [`${SPEC}.domain.cpu.sockets`]: /512/, [`${SPEC}.domain.cpu.cores`]: /512/, [`${SPEC}.domain.cpu.threads`]: /8/, [`${SPEC}.domain.cpu`]: /at most 512 processors/,
  }],
  ["a grace of more than a day", (spec) => { spec.terminationGracePeriodSeconds = 86_401; }, { [`${SPEC}.termination_grace_period_seconds`]: /86400/ }],
  ["unknown enum values", (spec) => {
    spec.evictionStrategy = UNKNOWN;
    spec.tolerations[0]!.operator = UNKNOWN;
    spec.tolerations[0]!.effect = UNKNOWN;
    spec.domain!.devices!.disks[0]!.cache = UNKNOWN;
    spec.domain!.devices!.disks[0]!.device = { $case: "disk", value: { bus: UNKNOWN, readonly: false } };
    spec.domain!.devices!.disks[2]!.device = { $case: "cdrom", value: { bus: UNKNOWN } };
    spec.domain!.devices!.interfaces[0]!.model = UNKNOWN;
    Object.assign(poolDisk(spec), { format: UNKNOWN, baseFormat: UNKNOWN });
  }, Object.fromEntries([
    "eviction_strategy", "tolerations[0].operator", "tolerations[0].effect", "domain.devices.disks[0].cache", "domain.devices.disks[0].disk.bus",
    "domain.devices.disks[2].cdrom.bus", "domain.devices.interfaces[0].model", "volumes[0].disk.format", "volumes[0].disk.base_format",
  ].map((path) => [`${SPEC}.${path}`, ENUM]))],
  ["a CD-ROM on virtio, a read-only disk on sata", (spec) => {
    spec.domain!.devices!.disks[0]!.device = { $case: "disk", value: { bus: DiskBus.SATA, readonly: true } };
    spec.domain!.devices!.disks[2]!.device = { $case: "cdrom", value: { bus: DiskBus.VIRTIO } };
  }, { [`${DEVICES}.disks[0].disk.readonly`]: /must be false on the sata bus/, [`${DEVICES}.disks[2].cdrom.bus`]: /sata or scsi/ }],
  ["hidden secrets sent back", (spec) => {
    spec.volumes[2]!.source = { $case: "cloudInitNoCloud", value: { userData: { value: "***", digest: "" }, networkData: { value: "***", digest: "" } } };
  }, { [`${SPEC}.volumes[2].cloud_init_no_cloud.user_data.value`]: /must not be "\*\*\*"/, [`${SPEC}.volumes[2].cloud_init_no_cloud.network_data.value`]: /must not be "\*\*\*"/ }],
  ["cloud-init without data", (spec) => { spec.volumes[2]!.source = { $case: "cloudInitNoCloud", value: { userData: undefined, networkData: undefined } }; }, { [`${SPEC}.volumes[2].cloud_init_no_cloud`]: /must have user_data or network_data/ }],
  ["a machine type, a UUID and a zone that are none", (spec) => {
    spec.domain!.machine!.type = "riscv";
    spec.domain!.firmware!.uuid = "5a6b0b2e";
    spec.domain!.clock!.base = { $case: "timezone", value: "Mars/Base" };
  }, { [`${SPEC}.domain.machine.type`]: /"q35", "pc" or a pinned type/, [`${SPEC}.domain.firmware.uuid`]: /must be a UUID/, [`${SPEC}.domain.clock.timezone`]: /IANA time zone/ }],
  ["no memory, no source of a volume and a network", (spec) => {
    delete (spec.domain as Partial<typeof spec.domain> & object).memory;
    spec.volumes[0]!.source = undefined;
    spec.networks[0]!.source = undefined;
  }, { [`${SPEC}.domain.memory`]: /required/, [`${SPEC}.volumes[0].source`]: /exactly one|required/, [`${SPEC}.networks[0].source`]: /exactly one|required/ }],
  ["more volumes, networks and tolerations than fit", (spec) => {
    spec.tolerations = Array.from({ length: 33 }, () => spec.tolerations[0]!);
    spec.nodeSelector = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, "v"]));
  }, { [`${SPEC}.tolerations`]: /32/, [`${SPEC}.node_selector`]: /32/ }],
  ["selectors and tolerations that are no labels", (spec) => {
    spec.nodeSelector = { "a b": "c d" };
    spec.tolerations[0] = { ...spec.tolerations[0]!, key: "/x", value: "y z" };
  }, { [`${SPEC}.node_selector["a b"]`]: /characters/, [`${SPEC}.tolerations[0].key`]: LABEL_KEY, [`${SPEC}.tolerations[0].value`]: LABEL_VALUE }],
];

type MachineCase = [what: string, machine: () => VirtualMachine, faults: Faults];

const metadataCases: MachineCase[] = [
  ...NO_LABELS.map((name): MachineCase => [`the name "${name}"`, () => wholeMachine({ name }), { "virtual_machine.metadata.name": LABEL }]),
  ...NO_LABELS.filter((name) => name !== "").map((namespace): MachineCase => [`the namespace "${namespace}"`, () => wholeMachine({ name: "web", namespace }), { "virtual_machine.metadata.namespace": LABEL }]),
  ...["", "a b", "/a", "a/", "-a", "A/b/c", "UPPER.com/a", "x".repeat(64)].map((key): MachineCase =>
    [`the label key "${key}"`, () => wholeMachine({ name: "web", labels: { [key]: "v" } }), { [`virtual_machine.metadata.labels[${JSON.stringify(key)}]`]: LABEL_KEY }]),
  ...["a b", "-a", "a/b", "ä", "x".repeat(64)].map((value): MachineCase =>
    [`the label value "${value}"`, () => wholeMachine({ name: "web", labels: { app: value } }), { 'virtual_machine.metadata.labels["app"]': LABEL_VALUE }]),
  ["more than 64 labels and annotations", () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, "v"]));
    return wholeMachine({ name: "web", labels: many, annotations: many });
  }, { "virtual_machine.metadata.labels": /64/, "virtual_machine.metadata.annotations": /64/ }],
  ["annotations of more than 64 KiB", () => wholeMachine({ name: "web", annotations: { note: "x".repeat(65_536) } }), { "virtual_machine.metadata.annotations": /at most 65536 bytes together: current size is 65540/ }],
  ...[0, 6, 99, -1].map((runStrategy): MachineCase => [`the run strategy ${runStrategy}`, () => {
    const machine = wholeMachine();
    return { ...machine, spec: { ...machine.spec!, runStrategy: runStrategy as never } };
  }, { "virtual_machine.spec.run_strategy": /./ }]),
  ["no template", () => ({ ...wholeMachine(), spec: { runStrategy: 3, template: undefined } }), { "virtual_machine.spec.template": /required/ }],
  ["no spec", () => ({ ...wholeMachine(), spec: undefined }), { "virtual_machine.spec": /required/ }],
  ["faults all over", () => {
    const machine = changed((spec) => {
      spec.domain!.memory!.guest = "lots";
      spec.volumes[0]!.name = "Root!";
      poolDisk(spec).image = "../root";
    });
    return { ...machine, metadata: { ...machine.metadata!, name: "A", labels: { "": "b c" } } };
  }, {
    "virtual_machine.metadata.name": LABEL, 'virtual_machine.metadata.labels[""]': /characters/, [`${SPEC}.domain.memory.guest`]: MEMORY,
    [`${SPEC}.volumes[0].name`]: /1 to 63|no disk is called/, [`${DEVICES}.disks[0].name`]: /none called "root"/, [`${SPEC}.volumes[0].disk.image`]: FILE,
  }],
];

describe("api-server, asked for a machine that it must refuse", function () {
  this.timeout(30_000);
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.[Symbol.asyncDispose]());

  it("takes the machine that the cases below break", async () => {
    const { virtualMachine } = await leavingNothing(server, () => server.user.machines.createVirtualMachine({ virtualMachine: wholeMachine(), requestId: "", validateOnly: true }));
    assert.equal(virtualMachine!.metadata!.namespace, "default");
  });

  const cases = [...metadataCases, ...specCases.map(([what, change, faults]): MachineCase => [what, () => changed(change), faults])];
  for (const [what, machine, faults] of cases) {
    it(what.length > 100 ? `${what.slice(0, 100)}…` : what, () =>
      assertInvalid(server, () => server.user.machines.createVirtualMachine({ ...ONCE, virtualMachine: machine() }), faults));
  }

  it("no machine at all, and a request that is wrong beside the machine", async () => {
    await assertInvalid(server, () => server.user.machines.createVirtualMachine({ ...ONCE, virtualMachine: undefined }), { virtual_machine: /required/ });
    await assertInvalid(server, () => server.user.machines.createVirtualMachine({ ...ONCE, requestId: "two words", virtualMachine: wholeMachine({ name: "A" }) }), {
      request_id: /pattern/, "virtual_machine.metadata.name": LABEL,
    });
  });
});
