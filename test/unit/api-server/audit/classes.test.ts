/** The table of what is audited: nothing is missing from it, and what changes something is not left out by mistake. */
import assert from "node:assert/strict";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import type { DescService } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { AUDIT_ROWS, auditedAs } from "../../../../api-server/audit/classes.ts";
import { ROWS } from "../../../../api-server/interceptors/roles.ts";
import { schema } from "../fixture.ts";

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, schema.image));
const services = [...registry].filter((each): each is DescService => each.kind === "service" && each.typeName.startsWith("drover."));
const methods = services.flatMap(({ typeName, methods }) => methods.map((method) => ({ rpc: `/${typeName}/${method.name}`, method })));

describe("the table of what is audited", () => {
  it("has a row for every RPC of the proto and for nothing else", () => {
    assert.deepEqual([...AUDIT_ROWS.keys()].sort(), methods.map(({ rpc }) => rpc).sort());
  });

  it("leaves out no call that users may make and that changes something", () => {
    const left = methods.filter(({ rpc, method }) => {
      const changes = method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
      return changes && typeof ROWS.get(rpc) === "object" && auditedAs(rpc, "user") === undefined;
    });
    assert.deepEqual(left.map(({ rpc }) => rpc), []);
  });

  it("says why for each that is left out, and leaves out no more than reads, reports and the control plane's steps", () => {
    const left = [...AUDIT_ROWS].flatMap(([rpc, row]) => ("not" in row ? [[rpc, row.not] as const] : []));
    for (const [rpc, why] of left) assert.ok(why.length > 20, rpc);
    const others = left.map(([rpc]) => rpc.slice(rpc.lastIndexOf("/") + 1)).filter((name) => !/^(Get|List|Watch)|^Update\w+Status$/.test(name));
    assert.deepEqual(others.sort(), ["Attach", "CheckAccess", "CheckMigration", "Claim", "ExplainVirtualMachine", "Lead", "LookupMachine", "PlanDrain", "RecordEvents", "Renew", "Report", "Session", "VerifyAudit", "WhoAmI"]);
  });

  it("records events that users write, and not those by which Drover's own programs tell what they did", () => {
    const rpc = "/drover.v1.EventService/CreateEvent";
    assert.deepEqual([auditedAs(rpc, "user"), auditedAs(rpc, "control-plane"), auditedAs(rpc, undefined)], ["mutation", undefined, undefined]);
    assert.equal(auditedAs("/drover.v1.None/None", "user"), undefined);
  });
});
