/** What callers may do and see, over the real listener: nothing of what is not theirs, not even whether it exists. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import type { DescMethod } from "@bufbuild/protobuf";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import * as fc from "fast-check";
import { Status } from "nice-grpc";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { WatchVirtualMachinesResponse } from "../../gen/drover/v1/virtual_machine.ts";
import { ROWS } from "../../api-server/interceptors/roles.ts";
import { machine, schema } from "../unit/api-server/fixture.ts";
import { refusal } from "./api-process.ts";
import { binding, EVERYTHING, group, ONCE, role, startAuthServer, user, WATCH } from "./auth-server.ts";
import type { AuthServer, Clients } from "./auth-server.ts";

async function refusedAs(code: string, attempt: Promise<unknown>, reason?: string) {
  const answer = await refusal(attempt);
  assert.deepEqual([answer.code, reason ?? answer.reason], [code, answer.reason], answer.message);
  return answer;
}

const space = (name: string) => ({ ...ONCE, namespace: { metadata: ObjectMeta.create({ name }) } });
const placed = (namespace: string, name: string) => {
  const whole = machine({ name });
  return { ...ONCE, virtualMachine: { ...whole, metadata: { ...whole.metadata!, namespace } } };
};
const named = (namespace: string, name: string) => ({ ...ONCE, namespace, name });
const where = (items: readonly { metadata: ObjectMeta | undefined }[]) => [...new Set(items.map(({ metadata }) => metadata!.namespace))].sort();

type Watching = AsyncIterator<WatchVirtualMachinesResponse>;

/** What a watch tells until the machine "last" comes, as lines. */
async function untilLast(watch: Watching): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const { event, revision } = (await watch.next()).value as WatchVirtualMachinesResponse;
    if (event!.$case === "bookmark") continue;
    const { metadata } = event!.$case === "deleted" ? event!.value.virtualMachine! : event!.value;
    if (metadata!.name === "last") break;
    lines.push(`${revision} ${event!.$case} ${metadata!.namespace}/${metadata!.name}`);
  }
  await watch.return?.();
  return lines;
}

async function drained(stream: AsyncIterator<unknown>): Promise<void> {
  while (!(await stream.next()).done);
}

describe("rights over the public listener", function () {
  this.timeout(60_000);
  let server: AuthServer;
  let alice: Clients;
  before(async () => {
    server = await startAuthServer();
    for (const name of ["a", "b"]) await server.admin.spaces.createNamespace(space(name));
    for (const [namespace, name] of [["a", "web"], ["b", "web"], ["b", "db"], ["default", "web"]] as const) {
      await server.admin.machines.createVirtualMachine(placed(namespace, name));
    }
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("alice", { role: "operator", subjects: [user("alice")], namespaces: ["a"] }) });
    alice = await server.as("alice", ["dev"]);
  });
  after(() => server?.[Symbol.asyncDispose]());

  it("T1: shows of a list and of a watch what is in the caller's namespaces", async () => {
    assert.deepEqual(where((await alice.machines.listVirtualMachines(EVERYTHING)).virtualMachines), ["a"]);
    assert.equal((await alice.machines.getVirtualMachine({ namespace: "a", name: "web" })).virtualMachine!.metadata!.name, "web");
    await refusedAs("PERMISSION_DENIED", alice.machines.listVirtualMachines({ ...EVERYTHING, namespace: "b" }));
    await refusedAs("PERMISSION_DENIED", alice.machines.watchVirtualMachines({ ...WATCH, namespace: "b" })[Symbol.asyncIterator]().next());
    for (const attempt of [alice.nodes.listNodes(EVERYTHING), alice.volumes.listVolumes(EVERYTHING), alice.spaces.listNamespaces(EVERYTHING), alice.roles.listRoles(EVERYTHING)]) {
      await refusedAs("PERMISSION_DENIED", attempt);
    }
  });

  it("T1: names no foreign object in a page token", async () => {
    for (const name of ["w1", "w2", "w3"]) await alice.machines.createVirtualMachine(placed("a", name));
    let pageToken = "";
    const seen: string[] = [];
    do {
      const page = await alice.machines.listVirtualMachines({ ...EVERYTHING, pageSize: 1, pageToken });
      seen.push(...page.virtualMachines.map(({ metadata }) => `${metadata!.namespace}/${metadata!.name}`));
      pageToken = page.nextPageToken;
      assert.doesNotMatch(Buffer.from(pageToken, "base64url").toString(), /virtualmachines\/(b|default)/);
    } while (pageToken !== "");
    assert.deepEqual(seen, ["a/w1", "a/w2", "a/w3", "a/web"]);
  });

  it("T1: tells a watcher of no foreign event, whatever happens, and of every one of its own", async () => {
    const begun = async (clients: Clients, namespace: string) => {
      const watch = clients.machines.watchVirtualMachines({ ...WATCH, namespace })[Symbol.asyncIterator]();
      while ((await watch.next()).value!.event!.$case !== "bookmark");
      return watch;
    };
    const [hers, theirs, all] = [await begun(alice, ""), await begun(server.admin, "a"), await begun(server.admin, "")];
    const step = fc.record({ namespace: fc.constantFrom("a", "b", "default"), name: fc.constantFrom("p", "q"), act: fc.constantFrom("create", "label", "delete") });
    const steps = fc.sample(fc.array(step, { minLength: 1_000, maxLength: 1_000 }), { numRuns: 1, seed: 7 })[0]!;
    for (const { namespace, name, act } of steps) await acted(server.admin, act, { namespace, name }).catch(() => undefined);
    await server.admin.machines.createVirtualMachine(placed("a", "last"));
    const seen = await Promise.all([hers, theirs, all].map(untilLast));
    assert.deepEqual(seen[0], seen[1]);
    assert.ok(seen[0]!.every((line) => line.includes(" a/")));
    assert.ok(seen[0]!.length > 50 && seen[2]!.length > 2 * seen[0]!.length, seen.map(({ length }) => length).join());
  });

  it("T1: answers the same whether or not the object exists, for every RPC, before it looks at the request", async () => {
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, schema.image));
    const methods = new Map<string, DescMethod>();
    for (const each of registry) if (each.kind === "service") for (const method of each.methods) methods.set(`/${each.typeName}/${method.name}`, method);
    const { ca, cert, key } = await server.certificate("mallory");
    const client = new Client(server.address, credentials.createSsl(readFileSync(ca), readFileSync(key), readFileSync(cert)));
    const ask = (path: string, bytes: Uint8Array) => new Promise<string>((resolve) => {
      const heard = (error: ServiceError | null) => resolve(`${Status[error?.code ?? 0]}: ${error?.details ?? ""}`);
      if (methods.get(path)!.methodKind === "unary") client.makeUnaryRequest(path, (sent: Buffer) => sent, (got) => got, Buffer.from(bytes), heard);
      else client.makeServerStreamRequest(path, (sent: Buffer) => sent, (got) => got, Buffer.from(bytes)).on("error", (error) => heard(error as ServiceError)).on("data", () => resolve("OK"));
    });
    const { items: before } = await server.store.list("");
    let asked = 0;
    for (const [path, row] of ROWS) {
      if (typeof row === "string") continue;
      const { input } = methods.get(path)!;
      const bytes = (namespace: string, name: string) => {
        const place = { namespace, name };
        const fields = row.place.in === "object" ? { [row.place.field]: { metadata: place } } : row.place.in === "event" ? { event: { regarding: place } } : place;
        const known = Object.fromEntries(Object.entries(fields).filter(([field]) => input.fields.some(({ localName }) => localName === field)));
        return toBinary(input, create(input, known));
      };
      const answers = new Set([await ask(path, bytes("b", "web")), await ask(path, bytes("b", "missing")), await ask(path, bytes("b", ""))]);
      assert.equal(answers.size, 1, `${path}: ${[...answers].join(" | ")}`);
      assert.match([...answers][0]!, new RegExp(`^PERMISSION_DENIED: "user/mallory" may not ${row.verb} ${row.kind}`), path);
      assert.match(await ask(path, Buffer.from([0xff])), /^PERMISSION_DENIED/, path);
      asked += 1;
    }
    client.close();
    assert.ok(asked > 50);
    assert.deepEqual((await server.store.list("")).items, before);
  });

  it("counts a binding from the answer to whoever writes it, and no more from the answer to whoever deletes it", async () => {
    const bob = await server.as("bob", ["dev"]);
    for (let round = 0; round < 30; round += 1) {
      const subjects = round % 2 === 0 ? [user("bob")] : [group("dev")];
      await refusedAs("PERMISSION_DENIED", bob.machines.getVirtualMachine({ namespace: "b", name: "web" }));
      const { roleBinding } = await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("bob", { role: "viewer", subjects, namespaces: ["b"] }) });
      assert.ok(await bob.machines.getVirtualMachine({ namespace: "b", name: "web" }));
      await refusedAs("PERMISSION_DENIED", bob.machines.deleteVirtualMachine({ ...named("b", "web"), uid: "", resourceVersion: "" }));
      const moved = { ...roleBinding!, spec: { ...roleBinding!.spec!, namespaces: ["a"] } };
      await server.admin.bindings.updateRoleBinding({ ...ONCE, roleBinding: moved, updateMask: undefined });
      await refusedAs("PERMISSION_DENIED", bob.machines.getVirtualMachine({ namespace: "b", name: "web" }));
      await server.admin.bindings.deleteRoleBinding({ name: "bob", uid: "", resourceVersion: "", ...ONCE });
      await refusedAs("PERMISSION_DENIED", bob.machines.listVirtualMachines(EVERYTHING));
    }
  });

  it("ends a watch whose caller sees other namespaces than when it began, and nothing comes after", async () => {
    const carol = await server.as("carol");
    const give = (namespaces: string[]) => server.admin.bindings.createRoleBinding({
      ...ONCE, roleBinding: binding(`carol-${namespaces.join("-")}`, { role: "viewer", subjects: [user("carol")], namespaces }),
    });
    const take = (name: string) => server.admin.bindings.deleteRoleBinding({ name, uid: "", resourceVersion: "", ...ONCE });
    await give(["a"]);
    await give(["b"]);
    const open = async () => {
      const watch = carol.machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]();
      while ((await watch.next()).value!.event!.$case !== "bookmark");
      return watch;
    };
    const [first, unconcerned] = [await open(), alice.machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]()];
    await unconcerned.next();
    await take("carol-b");
    await server.admin.machines.createVirtualMachine(placed("b", "secret"));
    const { message } = await refusedAs("ABORTED", drained(first), "ACCESS_CHANGED");
    assert.match(message, /open the stream again/);
    const second = await open();
    await give(["default"]);
    await refusedAs("ABORTED", drained(second), "ACCESS_CHANGED");
    await take("carol-a");
    await take("carol-default");
    await refusedAs("PERMISSION_DENIED", open());
    assert.ok((await unconcerned.next()).value);
    await unconcerned.return?.();
  });

  it("gives nobody more than the giver has", async () => {
    await server.admin.roles.createRole({ ...ONCE, role: role("binder", { verbs: ["*"], kinds: ["Role", "RoleBinding"] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("dave", { role: "binder", subjects: [user("dave")] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("dave-a", { role: "viewer", subjects: [user("dave")], namespaces: ["a"] }) });
    const dave = await server.as("dave");
    const bind = (name: string, spec: Parameters<typeof binding>[1]) => dave.bindings.createRoleBinding({ ...ONCE, roleBinding: binding(name, spec) });
    const subjects = [user("dave")];
    await refusedAs("PERMISSION_DENIED", bind("x", { role: "admin", subjects }), "ESCALATION");
    await refusedAs("PERMISSION_DENIED", bind("x", { role: "viewer", subjects }), "ESCALATION");
    await refusedAs("PERMISSION_DENIED", bind("x", { role: "viewer", subjects, namespaces: ["a", "b"] }), "ESCALATION");
    await refusedAs("FAILED_PRECONDITION", bind("x", { role: "nothing", subjects }), "ROLE_NOT_FOUND");
    const { roleBinding } = await bind("x", { role: "viewer", subjects: [user("erin")], namespaces: ["a"] });
    const wider = { ...roleBinding!, spec: { ...roleBinding!.spec!, role: "operator" } };
    await refusedAs("PERMISSION_DENIED", dave.bindings.updateRoleBinding({ ...ONCE, roleBinding: wider, updateMask: ["spec.role"] }), "ESCALATION");
    const mine = role("mine", { verbs: ["get"], kinds: ["Role"] });
    const { role: made } = await dave.roles.createRole({ ...ONCE, role: mine });
    await refusedAs("PERMISSION_DENIED", dave.roles.createRole({ ...ONCE, role: role("wide", { verbs: ["get"], kinds: ["VirtualMachine"] }) }), "ESCALATION");
    const widened = { ...made!, spec: { rules: [{ verbs: ["*"], kinds: ["*"], names: [] }] } };
    await refusedAs("PERMISSION_DENIED", dave.roles.updateRole({ ...ONCE, role: widened, updateMask: undefined }), "ESCALATION");
    assert.deepEqual((await server.admin.roles.getRole({ name: "mine" })).role!.spec, made!.spec);
  });

  it("keeps the built-in roles as they are, and lists them", async () => {
    const { roles } = await server.admin.roles.listRoles(EVERYTHING);
    assert.deepEqual(["admin", "operator", "viewer"].filter((name) => !roles.some(({ metadata }) => metadata!.name === name)), []);
    const viewer = roles.find(({ metadata }) => metadata!.name === "viewer")!;
    await refusedAs("FAILED_PRECONDITION", server.admin.roles.updateRole({ ...ONCE, role: viewer, updateMask: undefined }), "BUILT_IN_ROLE");
    await refusedAs("FAILED_PRECONDITION", server.admin.roles.deleteRole({ name: "viewer", uid: "", resourceVersion: "", ...ONCE }), "BUILT_IN_ROLE");
    await refusedAs("ALREADY_EXISTS", server.admin.roles.createRole({ ...ONCE, role: role("admin", { verbs: ["get"], kinds: ["Role"] }) }));
  });

  it("refuses rules that allow nothing, and bindings to nobody", async () => {
    const rules: [{ verbs: string[]; kinds: string[] }, string][] = [
      [{ verbs: ["start"], kinds: ["Node"] }, "role.spec.rules[0].verbs[0]"],
      [{ verbs: ["get"], kinds: ["VirtualMashine"] }, "role.spec.rules[0].kinds[0]"],
      [{ verbs: [], kinds: ["Node"] }, "role.spec.rules[0].verbs"],
    ];
    for (const [rule, path] of rules) {
      const { fields, code } = await refusal(server.admin.roles.createRole({ ...ONCE, role: role("wrong", rule) }));
      assert.deepEqual([code, fields.has(path)], ["INVALID_ARGUMENT", true], [...fields.keys()].join());
    }
    for (const wrong of [{ subjects: [] }, { subjects: [user("a b")] }, { subjects: [{ kind: 0 as const, name: "a" }] }, { namespaces: ["_"] }]) {
      const roleBinding = binding("wrong", { role: "viewer", subjects: [user("a")], ...wrong });
      await refusedAs("INVALID_ARGUMENT", server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding }));
    }
  });

  it("answers what a caller may do as the calls themselves would", async () => {
    const can = async (verb: string, kind: string, namespace = "", name = "") => (await alice.auth.checkAccess({ verb, kind, namespace, name })).allowed;
    assert.deepEqual(
      [await can("start", "VirtualMachine", "a"), await can("start", "VirtualMachine", "b"), await can("list", "VirtualMachine"), await can("cordon", "Node", "a")],
      [true, false, false, false],
    );
    await refusedAs("INVALID_ARGUMENT", can("explode", "VirtualMachine", "a"));
    await refusedAs("INVALID_ARGUMENT", can("get", "vm", "a"));
  });

  it("names: allows what it names, and no list", async () => {
    await server.admin.roles.createRole({ ...ONCE, role: role("one-machine", { verbs: ["*"], kinds: ["VirtualMachine"], names: ["db"] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("frank", { role: "one-machine", subjects: [user("frank")], namespaces: ["b"] }) });
    const frank = await server.as("frank");
    assert.ok(await frank.machines.startVirtualMachine(named("b", "db")));
    await refusedAs("PERMISSION_DENIED", frank.machines.startVirtualMachine(named("b", "web")));
    await refusedAs("PERMISSION_DENIED", frank.machines.listVirtualMachines({ ...EVERYTHING, namespace: "b" }));
    await refusedAs("PERMISSION_DENIED", frank.machines.createVirtualMachine(placed("b", "other")));
  });

  it("takes nothing for the control plane's that an administrator by role says", async () => {
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("root", { role: "admin", subjects: [user("root")] }) });
    const root = await server.as("root");
    const { virtualMachine } = await root.machines.getVirtualMachine({ namespace: "a", name: "web" });
    await refusedAs("PERMISSION_DENIED", root.machines.updateVirtualMachineStatus({ virtualMachine }));
    assert.ok(await root.roles.createRole({ ...ONCE, role: role("anything", { verbs: ["*"], kinds: ["*"] }) }));
  });
});

async function acted({ machines }: Clients, act: "create" | "label" | "delete", { namespace, name }: { namespace: string; name: string }): Promise<void> {
  if (act === "create") await machines.createVirtualMachine(placed(namespace, name));
  else if (act === "delete") await machines.deleteVirtualMachine({ ...named(namespace, name), uid: "", resourceVersion: "" });
  else {
    const { virtualMachine } = await machines.getVirtualMachine({ namespace, name });
    const labels = { at: String(Number(virtualMachine!.metadata!.labels["at"] ?? 0) + 1) };
    await machines.updateVirtualMachine({ ...ONCE, virtualMachine: { ...virtualMachine!, metadata: { ...virtualMachine!.metadata!, labels } }, updateMask: ["metadata.labels"] });
  }
}
