/**
 * What a user writes, as a real Linux finds it: cloud-init's data on the volume labelled cidata, which it mounts and
 * reads, and the kernel's arguments, both with characters that mean something to XML, YAML and shells.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const BOOT_TIMEOUT_MS = 60_000;
const userData = "#cloud-config\nhostname: Seeded\nrun \"$(cmd)\": 'ä <&> \\n'\n";
const kernelArgs = `console=ttyS0 quiet note=<a&b>'c']]>$(d)`;
const networkData = "version: 2\nethernets: {}\n";

describe("a seed image in a guest", () => {
  const fleet = withFleet({ hosts: ["a"] });

  for (const [device, disk] of Object.entries({
    "virtio disk": { disk: { bus: "virtio" } },
    "SCSI CD-ROM": { cdrom: { bus: "scsi" } },
  })) {
    it(`is read from a ${device}, byte for byte, and the kernel has its arguments as they were written`, async () => {
      const name = device.toLowerCase().replaceAll(" ", "-");
      const file = join(fleet().lab.directory, `${name}.yaml`);
      writeFileSync(file, stringify(manifest(name, disk)));
      await fleet().drover("apply", "-f", file);
      const shown = await waitFor("the guest to be up", async () => {
        const text = await fleet().drover("logs", name).catch(() => "");
        return text.includes("DROVER-GUEST-READY") ? text : undefined;
      }, { timeoutMs: BOOT_TIMEOUT_MS });
      const read = (seedFile: string) =>
        shown.split(/\r?\n/).filter((line) => line.startsWith(`cloud-init ${seedFile}: `)).map((line) => `${line.slice(`cloud-init ${seedFile}: `.length)}\n`).join("");
      assert.equal(read("user-data"), userData, shown);
      assert.equal(read("network-config"), networkData);
      assert.ok(shown.split(/\r?\n/).includes(`cmdline ${kernelArgs}`), shown);
      assert.match(read("meta-data"), new RegExp(`^local-hostname: ${name}$`, "m"));
      await fleet().drover("stop", name, "--force", "--wait");
      await fleet().drover("delete", "vm", name, "--wait");
    });
  }
});

function manifest(name: string, disk: object): unknown {
  const kernelBoot = { pool: "shared", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs };
  return {
    apiVersion: "drover.dev/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: {
      runStrategy: "Always",
      template: {
        spec: {
          domain: {
            memory: { guest: "128Mi" },
            firmware: { kernelBoot },
            devices: { autoattachGraphicsDevice: false, disks: [{ name: "seed", ...disk }] },
          },
          volumes: [{ name: "seed", cloudInitNoCloud: { userData, networkData } }],
        },
      },
    },
  };
}
