import assert from "node:assert/strict";
import { NodeIdentity } from "../../../../gen/drover/v1/node.ts";
import type { Node } from "../../../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict } from "../../../../gen/drover/v1/preflight.ts";
import { findingsOf } from "../../../../lib/preflight/finding.ts";
import { TRUST } from "../../../../lib/preflight/trust.ts";
import type { TrustInput } from "../../../../lib/preflight/trust.ts";
import { node, NOW } from "../../api-server/subresources/records.ts";

const MINUTE_MS = 60_000;
const { BLOCK, WARN } = CheckVerdict;

function host(name: string, authorities: string[], identity?: Parameters<typeof NodeIdentity.create>[0]): Node {
  const made = node(name, { report: { migrationAuthorities: authorities } });
  return identity ? { ...made, status: { ...made.status!, identity: NodeIdentity.create(identity) } } : made;
}
const life = (minutes: number) => ({ incarnation: 1, certificateExpireTime: new Date(NOW.getTime() + minutes * MINUTE_MS) });

describe("whether two nodes take one another for what they are", () => {
  const input: TrustInput = { node: host("b", ["one"], life(60)), sourceNode: host("a", ["one"], life(60)), purpose: "migrate", now: NOW };
  const cases: [string, Partial<TrustInput>, [CheckVerdict, CheckReason][]][] = [
    ["two that are enrolled", {}, []],
    ["two that nobody has an identity of", { node: host("b", []), sourceNode: host("a", []) }, []],
    ["a target that was revoked", { node: host("b", ["one"], { ...life(60), revoked: true }) }, [[BLOCK, CheckReason.CERTIFICATE_INVALID]]],
    ["a target that never joined", { node: host("b", ["one"], { incarnation: 0 }) }, [[BLOCK, CheckReason.CERTIFICATE_INVALID]]],
    ["a target whose certificate has just ended", { node: host("b", ["one"], life(0)) }, [[BLOCK, CheckReason.CERTIFICATE_INVALID]]],
    ["a source whose certificate has ended", { sourceNode: host("a", ["one"], life(-1)) }, [[BLOCK, CheckReason.CERTIFICATE_INVALID]]],
    ["a certificate for nine minutes more", { node: host("b", ["one"], life(9)) }, [[WARN, CheckReason.CERTIFICATE_ENDING]]],
    ["a certificate for ten minutes more", { node: host("b", ["one"], life(10)) }, []],
    ["nobody says what time it is", { node: host("b", ["one"], life(-1)), now: undefined }, []],
    ["another authority", { node: host("b", ["two"], life(60)) }, [[BLOCK, CheckReason.AUTHORITY_DIFFERS]]],
    ["an authority that is being replaced, and both know both", { node: host("b", ["two", "one"], life(60)), sourceNode: host("a", ["one", "two"], life(60)) }, []],
    ["an authority that is being replaced, and one knows the old one alone", { node: host("b", ["two", "one"], life(60)) }, [[BLOCK, CheckReason.AUTHORITY_DIFFERS]]],
    ["a start, to which all of that is nothing", { purpose: "start", node: host("b", ["two"], { incarnation: 0, revoked: true }) }, []],
  ];
  for (const [name, fields, expected] of cases) {
    it(name, () => assert.deepEqual([...findingsOf<TrustInput>(TRUST, { ...input, ...fields })].map(({ verdict, reason }) => [verdict, reason]), expected));
  }
});
