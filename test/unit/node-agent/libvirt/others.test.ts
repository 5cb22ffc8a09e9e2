/** Whose a uuid or a name is before a domain is made with them. */
import assert from "node:assert/strict";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import type { Domain, HypervisorErrorKind } from "../../../../node-agent/libvirt/hypervisor.ts";
import { refuseOthers } from "../../../../node-agent/libvirt/others.ts";

const wanted = { uuid: "4f0c2a1e-0000-4000-8000-00000000000a", name: "default_web_1" };
const own: Domain = { ...wanted, state: "shutoff", reason: "unknown", persistent: true, metadata: "<drover:instance/>" };
const { metadata: _, ...unmarked } = own;

function verdict(sameUuid: Domain | undefined, sameName: Domain | undefined): HypervisorErrorKind | "free" {
  try {
    refuseOthers(wanted, { sameUuid, sameName });
    return "free";
  } catch (error) {
    assert.ok(error instanceof HypervisorError);
    return error.kind;
  }
}

describe("a uuid and a name for a domain", () => {
  const cases: [string, Domain | undefined, Domain | undefined, ReturnType<typeof verdict>][] = [
    ["are free when nobody has them", undefined, undefined, "free"],
    ["are free when an earlier try of Drover's left them defined", own, own, "free"],
    ["are compared without regard to the case of the uuid", own, { ...own, uuid: wanted.uuid.toUpperCase() }, "free"],
    ["are taken when the uuid has another name", { ...own, name: "mine" }, undefined, "already-exists"],
    ["are taken when the name has another uuid", undefined, { ...own, uuid: "4f0c2a1e-0000-4000-8000-00000000000b" }, "already-exists"],
    ["are taken when the domain is not Drover's", unmarked, unmarked, "already-exists"],
    ["are in use when the domain runs", { ...own, state: "running" }, own, "invalid-state"],
    ["are in use when the domain is paused", { ...own, state: "paused" }, own, "invalid-state"],
  ];
  for (const [what, sameUuid, sameName, expected] of cases) it(what, () => assert.equal(verdict(sameUuid, sameName), expected));
});
