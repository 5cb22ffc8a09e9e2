import assert from "node:assert/strict";
import { PermissionDenied } from "../../../../lib/errors.ts";
import { checkRole, LEAST_ROLE } from "../../../../api-server/interceptors/roles.ts";
import { nodeName } from "../../../../api-server/interceptors/peer.ts";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { schema } from "../fixture.ts";

describe("roles", () => {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, schema.image));
  const rpcs = [...registry].flatMap((each) =>
    each.kind === "service" && each.typeName.startsWith("drover.") ? each.methods.map(({ name }) => `/${each.typeName}/${name}`) : []);

  it("have a row for every RPC of the proto and for nothing else", () => {
    assert.deepEqual([...LEAST_ROLE.keys()].sort(), rpcs.sort());
  });

  it("keep agents to their own service and everybody else out of it", () => {
    for (const rpc of rpcs) {
      const agents = rpc.startsWith("/drover.agent.");
      const may = (role: "admin" | "user" | "node") => {
        try {
          checkRole(rpc, { subject: "x", role });
          return true;
        } catch (error) {
          assert.ok(error instanceof PermissionDenied);
          return false;
        }
      };
      assert.deepEqual([may("node"), may("admin")], [agents, !agents]);
      if (/Update\w+Status$|\/Release/.test(rpc)) assert.equal(may("user"), false);
    }
  });

  it("refuse an RPC that has no row", () => {
    assert.throws(() => checkRole("/drover.v1.VirtualMachineService/Explode", { subject: "x", role: "admin" }), PermissionDenied);
  });
});

describe("identity in a certificate", () => {
  const rows: [string, string | undefined][] = [
    ["URI:spiffe://drover.dev/node/a", "a"],
    ["DNS:a.example, URI:spiffe://drover.dev/node/host-1.rack", "host-1.rack"],
    ["", undefined],
    ["DNS:spiffe://drover.dev/node/a", undefined],
    ["URI:spiffe://drover.dev/node/a, URI:spiffe://drover.dev/node/b", undefined],
    ["URI:spiffe://drover.dev/node/a/b", undefined],
    ["URI:spiffe://drover.dev/node/", undefined],
    ["URI:spiffe://drover.dev/user/a", undefined],
    ['URI:"spiffe://drover.dev/node/a, URI:x"', undefined],
    ["URI:https://drover.dev/node/a", undefined],
  ];
  for (const [san, expected] of rows) it(`${JSON.stringify(san)} is ${expected}`, () => assert.equal(nodeName(san), expected));
});
