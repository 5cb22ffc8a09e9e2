/**
 * T7: what a domain of libvirt could be told to do to its host. None of it is there to be said: neither in the API, nor as
 * an element that a domain of Drover may have. What a user does say is a word that the host turns into a path.
 */
import assert from "node:assert/strict";
import { ClientError, Status } from "nice-grpc";
import { domainXml } from "../../node-agent/domain/domain-xml.ts";
import { element, InvalidDomain } from "../../node-agent/domain/element.ts";
import type { Element } from "../../node-agent/domain/element.ts";
import { verifiedXml } from "../../node-agent/domain/verified-xml.ts";
import { childOf, parseXml } from "../../node-agent/door/xml-tree.ts";
import { changed, wholeMachine } from "../contract/api-machine.ts";
import type { MachineSpec } from "../contract/api-machine.ts";
import { ONCE } from "../contract/auth-server.ts";
import { everything } from "../unit/node-agent/domain/build.ts";
import { nameOf, within } from "./descriptors.ts";
import { startInstalled } from "./server.ts";
import type { Clients, Installed } from "./server.ts";

/** Every text of a machine's spec. A new one is to be thought about before it is entered here. */
const TEXTS = [
  "CpuSpec.model", "MemorySpec.guest", "MachineSpec.type", "FirmwareSpec.uuid", "FirmwareSpec.serial",
  "KernelBoot.pool", "KernelBoot.kernel", "KernelBoot.initrd", "KernelBoot.kernel_args", "ClockSpec.timezone",
  "Disk.name", "Disk.serial", "Interface.name", "Interface.mac_address",
  "VirtualMachineVolume.name", "PoolDisk.pool", "PoolDisk.image", "PoolDisk.size", "PoolDisk.base_image", "EmptyDisk.capacity",
  "SecretValue.value", "SecretValue.digest",
  "Network.name", "BridgeNetwork.bridge_name", "LibvirtNetwork.network_name",
  "Toleration.key", "Toleration.value",
].map((name) => `drover.v1.${name}`);

type Threat = { what: string; field: RegExp; device?: boolean; tree: Element };
const qemu = { "xmlns:qemu": "http://libvirt.org/schemas/domain/qemu/1.0" };
const THREATS: readonly Threat[] = [
  { what: "arguments for QEMU", field: /qemu|arg(s|ument)?$|command|extra/, tree: element("qemu:commandline", qemu, [element("qemu:arg", { value: "-s" })]) },
  { what: "overrides of QEMU's devices", field: /override/, tree: element("qemu:override", qemu) },
  { what: "an emulator of the user's", field: /emulator|binary|program/, device: true, tree: element("emulator", {}, ["/tmp/qemu"]) },
  { what: "a script for an interface", field: /script|hook/, device: true, tree: element("interface", { type: "ethernet" }, [element("script", { path: "/tmp/x" })]) },
  { what: "a vhost-user socket", field: /vhost|socket(?!s$)/, device: true, tree: element("interface", { type: "vhostuser" }, [element("source", { type: "unix", path: "/run/x", mode: "server" })]) },
  { what: "a serial port to a file", field: /file|path|log/, device: true, tree: element("serial", { type: "file" }, [element("source", { path: "/etc/cron.d/x" })]) },
  { what: "a serial port to the network", field: /port$|address$(?<!mac_address)/, device: true, tree: element("serial", { type: "tcp" }, [element("source", { mode: "connect", host: "127.0.0.1", service: "22" })]) },
  { what: "a template for firmware variables", field: /nvram|template|(?<!boot)loader/, tree: element("os", {}, [element("nvram", { template: "/etc/shadow" }, ["/tmp/x"])]) },
  { what: "a security label", field: /seclabel|selinux|apparmor|label$/, tree: element("seclabel", { type: "none" }) },
  { what: "a directory of the host", field: /filesystem|share|mount|host_?path/, device: true, tree: element("filesystem", { type: "mount" }, [element("source", { dir: "/" }), element("target", { dir: "x" })]) },
  { what: "a device of the host", field: /hostdev|host_device|gpu|passthrough|pci/, device: true, tree: element("hostdev", { mode: "subsystem", type: "pci" }) },
  { what: "memory that is shared with the host", field: /backing|huge|shm/, tree: element("memoryBacking", {}, [element("source", { type: "file" }), element("access", { mode: "shared" })]) },
  { what: "a disk on the network", field: /protocol|url|uri|remote/, device: true, tree: element("disk", { type: "network", device: "disk" }, [element("source", { protocol: "nbd", name: "x" })]) },
  { what: "a disk that is a device", field: /block|lun/, device: true, tree: element("disk", { type: "block", device: "lun" }, [element("source", { dev: "/dev/sda" })]) },
  { what: "a disk that is a directory", field: /fat|vvfat|directory|folder/, device: true, tree: element("disk", { type: "dir", device: "disk" }, [element("source", { dir: "/etc" })]) },
  { what: "a TPM of the host", field: /tpm/, device: true, tree: element("tpm", { model: "tpm-tis" }, [element("backend", { type: "passthrough" }, [element("device", { path: "/dev/tpm0" })])]) },
  { what: "a display on the network", field: /listen|vnc|spice|display/, device: true, tree: element("graphics", { type: "vnc", listen: "0.0.0.0", port: -1 }) },
];
const spec = within("drover.v1.VirtualMachineInstanceSpec");
const machine = everything({ machineType: "pc-q35-7.2", pool: "/pool" });

describe("T7: dangerous features of a domain", function () {
  this.timeout(60_000);
  let server: Installed;
  let tenant: Clients;
  before(async () => {
    server = await startInstalled();
    await server.bind("tenant", "operator", ["default"]);
    tenant = await server.as("tenant");
  });
  after(() => server?.[Symbol.asyncDispose]());

  it("has no place for raw XML: every text of a spec is known", () => {
    assert.deepEqual(spec.filter(({ scalar, fieldKind }) => fieldKind === "scalar" && [9, 12].includes(scalar!)).map(nameOf).sort(), [...TEXTS].sort());
    assert.deepEqual(spec.filter(({ name }) => /xml|raw|patch|annotation/.test(name)).map(nameOf), []);
  });

  for (const { what, field, device, tree } of THREATS) {
    it(`knows nothing of ${what}`, () => {
      // The guest's own command line ends in the guest.
      assert.deepEqual(spec.filter(({ name }) => field.test(name) && name !== "kernel_args").map(nameOf), []);
      const domain = parseXml(domainXml(machine));
      (device ? childOf(domain, "devices")! : domain).children.push(tree);
      assert.throws(() => verifiedXml(domain), InvalidDomain);
    });
  }

  const bend: [string, (spec: MachineSpec, text: string) => void][] = [
    ["kernel", (bent, text) => Object.assign(bent.domain!.firmware!.kernelBoot!, { kernel: text })],
    ["initrd", (bent, text) => Object.assign(bent.domain!.firmware!.kernelBoot!, { initrd: text })],
  ];
  for (const [what, put] of bend) {
    it(`takes no ${what} from outside a pool`, async () => {
      for (const text of ["/etc/shadow", "../../etc/shadow", ".drover-pool-id", "a/b", "pool/../../x", "\u0000"]) {
        const attempt = tenant.machines.createVirtualMachine({ ...ONCE, virtualMachine: changed((bent) => put(bent, text)) });
        await assert.rejects(attempt, (error) => error instanceof ClientError && error.code === Status.INVALID_ARGUMENT, JSON.stringify(text));
      }
    });
  }

  it("takes the machine that the attempts were made with", async () => {
    const { virtualMachine } = await tenant.machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine() });
    assert.ok(virtualMachine?.metadata?.uid);
  });
});
