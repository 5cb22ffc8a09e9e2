/** The table of RPCs: nothing is missing from it, and every row finds in a request what the call will touch. */
import assert from "node:assert/strict";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { PermissionDenied } from "../../../../lib/errors.ts";
import { isNamespaced, questionOf, requireClass, type Right, ROWS } from "../../../../api-server/interceptors/roles.ts";
import * as kinds from "../../../../api-server/kinds/table.ts";
import type { Caller } from "../../../../api-server/objects.ts";
import { schema } from "../fixture.ts";

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, schema.image));
const services = [...registry].filter((each): each is DescService => each.kind === "service" && each.typeName.startsWith("drover."));
const rpcs = services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `/${typeName}/${name}`));
const requestOf = new Map<string, DescMessage>(services.flatMap(({ typeName, methods }) => methods.map((method) => [`/${typeName}/${method.name}`, method.input] as const)));

const may = (rpc: string, role: Caller["role"]) => {
  try {
    requireClass(rpc, { subject: "x", role });
    return true;
  } catch (error) {
    assert.ok(error instanceof PermissionDenied);
    return false;
  }
};

describe("the table of RPCs", () => {
  it("has a row for every RPC of the proto and for nothing else", () => {
    assert.deepEqual([...ROWS.keys()].sort(), rpcs.sort());
  });

  it("keeps agents to their own service and everybody else out of it", () => {
    for (const rpc of rpcs.filter((each) => !each.endsWith("/Enroll"))) {
      const agents = rpc.startsWith("/drover.agent.");
      assert.deepEqual([may(rpc, "node"), may(rpc, "admin")], [agents, !agents], rpc);
      if (/Update\w+Status$|\/Release/.test(rpc)) assert.equal(may(rpc, "user"), false, rpc);
    }
  });

  it("refuses an RPC that has no row", () => {
    assert.throws(() => requireClass("/drover.v1.VirtualMachineService/Explode", { subject: "x", role: "admin" }), PermissionDenied);
  });

  it("has a right in every row of the users' services but those about the caller itself", () => {
    const classes = [...ROWS].filter(([rpc, row]) => row === "identified" || (row === "anonymous" && rpc.startsWith("/drover.v1.")));
    assert.deepEqual(classes.map(([rpc]) => rpc), ["/drover.v1.AuthService/WhoAmI", "/drover.v1.AuthService/CheckAccess"]);
  });

  it("looks for namespace and name where the request has them, and knows which kinds have a namespace", () => {
    for (const kind of Object.values(kinds)) assert.equal(isNamespaced(kind.name), kind.namespaced, kind.name);
    for (const [rpc, row] of ROWS) {
      if (typeof row === "string") continue;
      const fields = requestOf.get(rpc)!.fields;
      const { place, kind } = row;
      const has = (name: string) => fields.some(({ localName }) => localName === name);
      if (place.in === "object") assert.ok(has(place.field), rpc);
      if (place.in === "event") assert.ok(has("event"), rpc);
      if (place.in === "request" || place.in === "collection") assert.equal(has("namespace"), isNamespaced(kind), rpc);
      assert.equal(has("name"), place.in === "request", rpc);
    }
  });

  it("reads a question as the records will name it", () => {
    const question = (rpc: string, request: Record<string, unknown>) => {
      const { namespace, name } = questionOf(ROWS.get(`/drover.v1.${rpc}`) as Right, request);
      return [namespace, name];
    };
    assert.deepEqual(question("VirtualMachineService/GetVirtualMachine", { namespace: "", name: "web" }), ["default", "web"]);
    assert.deepEqual(question("VirtualMachineService/ListVirtualMachines", { namespace: "" }), ["", ""]);
    assert.deepEqual(question("VirtualMachineService/CreateVirtualMachine", { virtualMachine: { metadata: { namespace: "a", name: "web" } } }), ["a", "web"]);
    assert.deepEqual(question("VirtualMachineService/CreateVirtualMachine", {}), ["default", ""]);
    assert.deepEqual(question("NodeService/CordonNode", { name: "n" }), ["", "n"]);
    assert.deepEqual(question("EventService/CreateEvent", { event: { regarding: { kind: "Node", name: "n", namespace: "" } } }), ["_", ""]);
    assert.deepEqual(question("EventService/CreateEvent", { event: { regarding: { namespace: "a" } } }), ["a", ""]);
  });
});
