import assert from "node:assert/strict";
import { migrateFlag } from "../../../../../node-agent/libvirt/constants.ts";
import { migrationFlags, migrationParameters } from "../../../../../node-agent/libvirt/driver/migration.ts";

const plain = { destinationUri: "qemu+tls://b/system", destinationXml: "<live/>", persistentXml: "<kept/>" };

describe("a migration's call", () => {
  it("always goes daemon to daemon and takes the definition along", () => {
    for (const options of [plain, { ...plain, tls: true, autoConverge: true, parallelConnections: 4 }]) {
      const flags = migrationFlags(options);
      for (const flag of ["LIVE", "PEER2PEER", "PERSIST_DEST", "UNDEFINE_SOURCE"] as const) assert.ok(flags & migrateFlag[flag], flag);
      for (const flag of ["TUNNELLED", "UNSAFE", "OFFLINE", "NON_SHARED_DISK"] as const) assert.equal(flags & migrateFlag[flag], 0, flag);
    }
  });

  it("asks for what was asked, no less and no more", () => {
    assert.equal(migrationFlags(plain) & (migrateFlag.TLS | migrateFlag.PARALLEL | migrateFlag.AUTO_CONVERGE), 0);
    assert.ok(migrationFlags({ ...plain, tls: true }) & migrateFlag.TLS);
    assert.ok(migrationFlags({ ...plain, parallelConnections: 2 }) & migrateFlag.PARALLEL);
    assert.deepEqual(migrationParameters(plain).map(({ name }) => name), ["destination_xml", "persistent_xml"]);
    const full = { ...plain, migrationUri: "tcp://b", bandwidthMiBps: 8, parallelConnections: 2, tlsDestination: "b" };
    assert.deepEqual(migrationParameters(full).slice(2), [
      { name: "migrate_uri", type: "STRING", value: "tcp://b" },
      { name: "bandwidth", type: "ULLONG", value: 8 },
      { name: "parallel.connections", type: "INT", value: 2 },
      { name: "tls.destination", type: "STRING", value: "b" },
    ]);
  });

  it("can leave pre-copy only when told, and resumes as the post-copy that it was", () => {
    const both = migrateFlag.POSTCOPY | migrateFlag.POSTCOPY_RESUME;
    assert.equal(migrationFlags(plain) & both, 0);
    assert.equal(migrationFlags({ ...plain, postCopy: true }) & both, migrateFlag.POSTCOPY);
    assert.equal(migrationFlags({ ...plain, resumePostCopy: true }) & both, both);
    assert.deepEqual(migrationParameters({ ...plain, postCopyBandwidthMiBps: 4 }).slice(2), [
      { name: "bandwidth.postcopy", type: "ULLONG", value: 4 },
    ]);
  });

  it("copies storage only when told, each named disk under its own parameter", () => {
    const copied = migrateFlag.NON_SHARED_INC | migrateFlag.NON_SHARED_DISK;
    assert.equal(migrationFlags(plain) & copied, 0);
    assert.equal(migrationFlags({ ...plain, copyStorage: "incremental" }) & copied, migrateFlag.NON_SHARED_INC);
    assert.deepEqual(migrationParameters({ ...plain, copyDisks: ["vda", "vdc"] }).slice(2), [
      { name: "migrate_disks", type: "STRING", value: "vda" },
      { name: "migrate_disks", type: "STRING", value: "vdc" },
    ]);
  });
});
