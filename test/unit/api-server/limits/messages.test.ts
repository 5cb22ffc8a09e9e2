/** Requests that are too large for their call are refused as that, whatever the listener takes. */
import assert from "node:assert/strict";
import { NodeAgentServiceDefinition, ReportRequest } from "../../../../gen/drover/agent/v1/agent.ts";
import { NodeReport } from "../../../../gen/drover/v1/node.ts";
import { OwnerReport } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { ResourceExhausted } from "../../../../lib/errors.ts";
import { bounded } from "../../../../api-server/limits/messages.ts";
import { tolerant, Undecodable, unreadable } from "../../../../api-server/validate/undecodable.ts";

type Codec = { requestType: { decode(bytes: Uint8Array): unknown } };
const KIB = 1024;
const { report, attach } = tolerant(bounded(NodeAgentServiceDefinition as never) as never)["methods"] as { report: Codec; attach: Codec };

const large = "x".repeat(300 * KIB);
const encoded = (request: Partial<ReportRequest>) => ReportRequest.encode(ReportRequest.create(request)).finish();

describe("the size of a request", () => {
  it("is bounded by its call", () => {
    const value = OwnerReport.create({ message: large } as Partial<OwnerReport>);
    const decoded = report.requestType.decode(encoded({ name: large, part: { $case: "owner", value } }));
    assert.ok(decoded instanceof Undecodable);
    const error = unreadable("ReportRequest", decoded.cause);
    assert.ok(error instanceof ResourceExhausted);
    assert.equal(error.info.reason, "MESSAGE_TOO_LARGE");
    assert.equal((report.requestType.decode(encoded({ name: "small" })) as ReportRequest).name, "small");
  });

  it("is the listener's for a node's report of all that it has", () => {
    const decoded = report.requestType.decode(encoded({ name: large, part: { $case: "node", value: NodeReport.create({}) } }));
    assert.equal((decoded as ReportRequest).name, large);
  });

  it("ends a console's stream", () => {
    assert.throws(() => attach.requestType.decode(new Uint8Array(65 * KIB)), ResourceExhausted);
  });
});
