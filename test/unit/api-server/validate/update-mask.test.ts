import assert from "node:assert/strict";
import { InvalidArgument } from "../../../../lib/errors.ts";
import { applyMask, maskPaths } from "../../../../api-server/validate/update-mask.ts";
import { edited, machine, schema } from "../fixture.ts";

const root = schema.message("drover.v1.VirtualMachine");
const stored = machine({ name: "web", labels: { app: "web" } });
const sent = edited(machine({ name: "web", labels: { app: "db" }, strategy: 3 }), (spec) => {
  spec.domain!.memory!.guest = "1Gi";
  spec.nodeSelector = { zone: "a" };
});
const apply = (...mask: string[]) => applyMask(stored, sent, { paths: maskPaths(mask, root), root });

describe("update masks", () => {
  it("take all that users own when empty", () => {
    const result = apply();
    assert.deepEqual([result.spec, result.metadata?.labels], [sent.spec, sent.metadata?.labels]);
  });

  it("take only what they name", () => {
    assert.deepEqual(apply("metadata.labels"), { ...stored, metadata: { ...stored.metadata!, labels: { app: "db" } } });
    const memory = apply("spec.template.spec.domain.memory.guest");
    assert.equal(memory.spec?.template?.spec?.domain?.memory?.guest, "1Gi");
    assert.deepEqual([memory.spec?.runStrategy, memory.spec?.template?.spec?.nodeSelector], [1, {}]);
    const two = apply("spec.run_strategy", "spec.template.spec.node_selector");
    assert.deepEqual([two.spec?.runStrategy, two.spec?.template?.spec?.nodeSelector], [3, { zone: "a" }]);
  });

  it("empty what they name and the object leaves out", () => {
    const without = applyMask(stored, { ...sent, spec: undefined }, { paths: ["spec.template"], root });
    assert.deepEqual([without.spec?.template, without.spec?.runStrategy], [undefined, 1]);
  });

  it("create the parents of what they name", () => {
    const bare = { ...stored, spec: undefined };
    assert.equal(applyMask(bare, sent, { paths: ["spec.run_strategy"], root }).spec?.runStrategy, 3);
  });

  for (const path of ["status", "metadata.name", "metadata", "spec.nothing", "", "spec..x", "metadata.finalizers"]) {
    it(`refuse ${JSON.stringify(path)}`, () => assert.throws(() => apply(path), InvalidArgument));
  }
});
