/** What people read of a node's certificate, and when. */
import assert from "node:assert/strict";
import { NodeIdentity } from "../../../../gen/drover/v1/node.ts";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { decide } from "../../../../controller/node/decide.ts";
import { conditionOf } from "../../../../controller/conditions.ts";
import { aNode } from "../world.ts";

const HOUR_MS = 3_600_000;
const now = new Date("2026-01-01T00:00:00Z");
const within = (hours: number) => new Date(now.getTime() + hours * HOUR_MS);

function looked(identity: Partial<NodeIdentity> | undefined) {
  const plain = aNode("a");
  const node = { ...plain, status: { ...plain.status, identity: identity && NodeIdentity.create(identity) } };
  const { actions, recheckMs } = decide({ node, instances: 0, now });
  const put = actions.find((action) => action.do === "put-node");
  const valid = put && conditionOf(put.node.status.conditions, "CertificateValid");
  const told = actions.flatMap((action) => (action.do === "notify" ? [action.notice.reason] : [])).filter((reason) => reason.startsWith("Certificate"));
  return { status: valid?.status, reason: valid?.reason, recheckMs, told };
}

describe("the condition of a node's certificate", () => {
  const { TRUE, FALSE } = ConditionStatus;
  const rows: [string, Partial<NodeIdentity> | undefined, ReturnType<typeof looked>][] = [
    ["of a node without an identity", undefined, { status: undefined, reason: undefined, recheckMs: undefined, told: [] }],
    ["of one that never joined", { incarnation: 0 }, { status: undefined, reason: undefined, recheckMs: undefined, told: [] }],
    ["fresh", { incarnation: 1, certificateExpireTime: within(24) }, { status: TRUE, reason: "Valid", recheckMs: 18 * HOUR_MS + 1, told: [] }],
    ["a quarter left", { incarnation: 1, certificateExpireTime: within(6) }, { status: TRUE, reason: "Valid", recheckMs: 1, told: [] }],
    ["less than that left", { incarnation: 1, certificateExpireTime: within(5) }, { status: FALSE, reason: "Expiring", recheckMs: 5 * HOUR_MS + 1, told: ["CertificateExpiring"] }],
    ["ended", { incarnation: 1, certificateExpireTime: within(-1) }, { status: FALSE, reason: "Expired", recheckMs: undefined, told: ["CertificateExpired"] }],
    ["revoked", { incarnation: 2, revoked: true }, { status: FALSE, reason: "Revoked", recheckMs: undefined, told: ["CertificateRevoked"] }],
  ];
  for (const [what, identity, expected] of rows) it(what, () => assert.deepEqual(looked(identity), expected));
});
