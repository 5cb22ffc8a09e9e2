import assert from "node:assert/strict";
import { NodeReport, NodeSession, NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import type { Node } from "../../../../gen/drover/v1/node.ts";
import { uncordoned } from "../../../../api-server/subresources/drain.ts";
import { confirmFenced, connected, cordoned, mergeNodeReport, silent } from "../../../../api-server/subresources/node.ts";
import { BOOT, node, NOW, refusalOf } from "./records.ts";

const fencing = { typedName: "a", reason: "pulled the plug", subject: "local", id: "f-1", now: NOW, connected: false };
const away = node("a", { state: NodeSessionState.SILENT });

describe("cordon", () => {
  it("changes the wish once", () => {
    const kept = cordoned(node("a"))!;
    assert.equal(kept.spec!.unschedulable, true);
    assert.equal(cordoned(kept), undefined);
    assert.equal(uncordoned(kept)!.spec!.unschedulable, false);
    assert.equal(uncordoned(node("a")), undefined);
  });
});

describe("confirming a fence", () => {
  const cases: [string, Node, Partial<typeof fencing>, string][] = [
    ["silent", away, {}, "changed"],
    ["connected", node("a"), {}, "NODE_CONNECTED"],
    ["silent in the record, back in memory", away, { connected: true }, "NODE_CONNECTED"],
    ["another name typed", away, { typedName: "b" }, "INVALID_FIELDS"],
    ["nothing typed", away, { typedName: "" }, "INVALID_FIELDS"],
  ];
  for (const [name, record, fields, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => confirmFenced(record, { ...fencing, ...fields })), expected));
  }

  it("stands until the agent is back", () => {
    const fenced = confirmFenced(away, fencing)!;
    assert.equal(fenced.status!.fence!.boot!.kernelBootId, BOOT.kernelBootId);
    assert.equal(confirmFenced(fenced, { ...fencing, id: "f-2" }), undefined);
    assert.equal(connected(fenced, NodeSession.create({ state: NodeSessionState.CONNECTED })).status!.fence, undefined);
  });
});

describe("silence", () => {
  it("is of one session", () => {
    const record = node("a");
    assert.equal(silent(record, { sessionId: "session-0", now: NOW, message: "m" }), undefined);
    const after = silent(record, { sessionId: "session-a", now: NOW, message: "m" })!;
    assert.equal(after.status!.session!.state, NodeSessionState.SILENT);
    assert.equal(silent(after, { sessionId: "session-a", now: NOW, message: "m" }), undefined);
  });
});

describe("a node's report", () => {
  it("is recorded when it says something new", () => {
    const record = mergeNodeReport(node("a"), NodeReport.create({ generation: 1, cpus: 4 }))!;
    assert.equal(record.status!.report!.cpus, 4);
    assert.equal(mergeNodeReport(record, NodeReport.create({ generation: 2, cpus: 4 })), undefined);
  });
  it("is bounded", () => {
    const many = Array.from({ length: 10_000 }, (_, i) => `domain-${i}\u0007`);
    const report = mergeNodeReport(node("a"), NodeReport.create({ foreignDomains: many, pools: many.map((name) => ({ name })) }))!.status!.report!;
    assert.deepEqual([report.foreignDomains.length, report.pools.length, report.foreignDomains[0]], [100, 64, "domain-0 "]);
  });
});
