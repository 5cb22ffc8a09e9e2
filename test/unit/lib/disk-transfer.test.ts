import assert from "node:assert/strict";
import { DiskCache, VirtualMachineInstanceSpec } from "../../../gen/drover/v1/machine.ts";
import { NodePool } from "../../../gen/drover/v1/node.ts";
import { diskTransfers } from "../../../lib/disk-transfer.ts";
import type { DiskTransfer } from "../../../lib/disk-transfer.ts";

const pools = (...fields: Parameters<typeof NodePool.create>[0][]) => ({ pools: fields.map((one) => NodePool.create(one)) });
const NFS = { name: "nfs", id: "shared", path: "/srv/nfs" };
const SOURCE = pools(NFS, { name: "ssd", id: "of-a", path: "/srv/ssd" });
const TARGET = pools(NFS, { name: "ssd", id: "of-b", path: "/srv/ssd" });

const poolDisk = (name: string, pool: string, size = "") => ({ name, source: { $case: "disk" as const, value: { pool, image: `${name}.qcow2`, size } } });
const spec = (volume: object, device: object = {}) =>
  VirtualMachineInstanceSpec.create({ domain: { devices: { disks: [{ name: "root", ...device }] } }, volumes: [volume] });

describe("what becomes of a disk when its machine moves", () => {
  const cases: [string, VirtualMachineInstanceSpec, DiskTransfer["kind"], { source?: typeof SOURCE; target?: typeof SOURCE; reason?: RegExp; bytes?: number | undefined }?][] = [
    ["in one pool of both nodes", spec(poolDisk("root", "nfs")), "shared"],
    ["in two pools of one name", spec(poolDisk("root", "ssd", "1Gi")), "copy", { bytes: 2 ** 30 }],
    ["of a size that the spec does not say", spec(poolDisk("root", "ssd")), "copy", { bytes: undefined }],
    ["empty at the start", spec({ name: "root", source: { $case: "emptyDisk", value: { capacity: "16Mi" } } }), "copy", { bytes: 16 << 20 }],
    ["of cloud-init's data", spec({ name: "root", source: { $case: "cloudInitNoCloud", value: {} } }), "remake"],
    ["a CD of the node", spec(poolDisk("root", "ssd"), { device: { $case: "cdrom", value: {} } }), "present"],
    ["that is only read", spec(poolDisk("root", "ssd"), { device: { $case: "disk", value: { readonly: true } } }), "present"],
    ["that is only read, in one pool of both", spec(poolDisk("root", "nfs"), { device: { $case: "disk", value: { readonly: true } } }), "shared"],
    ["in a pool that the target lacks", spec(poolDisk("root", "ssd")), "blocked", { target: pools(NFS), reason: /does not offer the pool "ssd"/ }],
    ["in a pool that the source has lost", spec(poolDisk("root", "nfs")), "blocked", { source: pools({ ...NFS, error: "not mounted" }), reason: /the source does not offer/ }],
    ["in a pool at another path", spec(poolDisk("root", "nfs")), "blocked", { target: pools({ ...NFS, path: "/mnt" }), reason: /keep their paths/ }],
    ["that the node caches", spec(poolDisk("root", "nfs"), { cache: DiskCache.WRITEBACK }), "blocked", { reason: /page cache/ }],
    ["of no known kind", spec({ name: "root" }), "blocked", { reason: /no source/ }],
  ];
  for (const [what, of, kind, { source = SOURCE, target = TARGET, reason, bytes } = {}] of cases) {
    it(`one ${what}: ${kind}`, () => {
      const [transfer] = diskTransfers(of, { source, target });
      assert.equal(transfer?.volume, "root");
      assert.equal(transfer.kind, kind);
      assert.equal(transfer.bytes, bytes);
      if (reason) assert.match(transfer.reason ?? "", reason);
      else assert.equal(transfer.reason, undefined);
    });
  }

  it("says nothing of files for a direct kernel boot, which need only be there", () => {
    const booted = VirtualMachineInstanceSpec.create({ domain: { firmware: { kernelBoot: { pool: "ssd", kernel: "vmlinuz" } } } });
    assert.deepEqual(diskTransfers(booted, { source: SOURCE, target: TARGET }), []);
  });

  it("takes a pool whose node does not say its path for one at the same path", () => {
    const old = pools({ name: "nfs", id: "shared" });
    assert.equal(diskTransfers(spec(poolDisk("root", "nfs")), { source: old, target: SOURCE })[0]?.kind, "shared");
  });
});
