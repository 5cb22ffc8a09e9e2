import assert from "node:assert/strict";
import { errorCode, migrateFlag, migrateParameter, reasonNames, stateNames } from "../../../../node-agent/libvirt/constants.ts";
import { generate } from "../../../../node-agent/libvirt/generate-constants.ts";

describe("libvirt's constants", () => {
  it("are those of libvirt's headers, where they decide what happens to a guest", () => {
    assert.equal(errorCode.NO_DOMAIN, 42);
    assert.deepEqual([migrateFlag.LIVE, migrateFlag.PEER2PEER, migrateFlag.UNDEFINE_SOURCE, migrateFlag.TLS], [1, 2, 16, 1 << 16]);
    assert.equal(migrateParameter.DEST_XML, "destination_xml");
    assert.equal(reasonNames[stateNames.indexOf("paused")]?.[13], "postcopy-failed");
    assert.equal(reasonNames[stateNames.indexOf("shutoff")]?.[4], "migrated");
    assert.equal(reasonNames.length, stateNames.length);
  });

  it("are not generated from a description that lacks some", () => {
    assert.throws(() => generate({ enums: [], macros: [] }), /Cannot read enumeration/);
  });
});
