/** What the API refuses beside the spec of a machine: versions, tokens, masks, ids, verbs, roles, sizes, and bytes that mean nothing. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Metadata, Status } from "nice-grpc";
import { EventType } from "../../gen/drover/v1/event.ts";
import { TaintEffect } from "../../gen/drover/v1/machine.ts";
import { Node } from "../../gen/drover/v1/node.ts";
import { CreateVirtualMachineRequest, VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Volume } from "../../gen/drover/v1/volume.ts";
import { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { ROWS } from "../../api-server/interceptors/roles.ts";
import { changed, wholeMachine } from "./api-machine.ts";
import { assertInvalid, EVERYTHING, leavingNothing, ONCE, refusal, startServer } from "./api-process.ts";
import type { Clients, Server } from "./api-process.ts";

const WEB = { namespace: "default", name: "web" };
const NAMED = { ...WEB, ...ONCE };
const MIB = 1024 * 1024;

describe("api-server, asked for what it must refuse", function () {
  this.timeout(30_000);
  let server: Server;
  let web: VirtualMachine;
  before(async () => {
    server = await startServer();
    web = (await server.user.machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine() })).virtualMachine!;
  });
  after(() => server?.[Symbol.asyncDispose]());

  const invalid = (attempt: (user: Clients) => Promise<unknown>, expected: Record<string, RegExp>) => assertInvalid(server, () => attempt(server.user), expected);
  async function refusedAs(code: string, reason: string, attempt: (user: Clients) => Promise<unknown>) {
    const answer = await leavingNothing(server, () => refusal(attempt(server.user)));
    assert.deepEqual([answer.code, answer.reason], [code, reason], answer.message);
    return answer;
  }
  const update = (virtualMachine: VirtualMachine | undefined, updateMask?: string[]) => server.user.machines.updateVirtualMachine({ ...ONCE, virtualMachine, updateMask });

  describe("lists and watches", () => {
    it("pages that are too large, tokens of nobody and of another list", async () => {
      const { machines, spaces } = server.user;
      await invalid(() => machines.listVirtualMachines({ ...EVERYTHING, pageSize: 501 }), { page_size: /500/ });
      await spaces.createNamespace({ ...ONCE, namespace: { metadata: wholeMachine({ name: "other" }).metadata } });
      const { nextPageToken } = await spaces.listNamespaces({ ...EVERYTHING, pageSize: 1 });
      assert.notEqual(nextPageToken, "");
      for (const pageToken of ["x", "\u{1f600}", "WyJ4Il0", `${nextPageToken}x`, nextPageToken, "A".repeat(5_000)]) {
        await invalid(() => machines.listVirtualMachines({ ...EVERYTHING, pageToken }), { page_token: /next_page_token of the same list/ });
      }
      await invalid(() => spaces.listNamespaces({ ...EVERYTHING, pageToken: nextPageToken, labelSelector: "a" }), { page_token: /same list/ });
      assert.equal((await spaces.listNamespaces({ ...EVERYTHING, pageToken: nextPageToken })).namespaces.length, 1);
      await using stranger = await startServer();
      const { code, fields } = await refusal(stranger.user.spaces.listNamespaces({ ...EVERYTHING, pageToken: nextPageToken }));
      assert.deepEqual([code, [...fields.keys()]], ["INVALID_ARGUMENT", ["page_token"]]);
    });

    it("selectors that cannot be read, and fields that there are not", async () => {
      const { machines } = server.user;
      for (const labelSelector of ["a b c", "=x", "a in b", "a,,b", "a=b c", "a=(", "!", "ä"]) {
        await invalid(() => machines.listVirtualMachines({ ...EVERYTHING, labelSelector }), { label_selector: /expected forms|characters/ });
      }
      const fields: [string, RegExp][] = [
        ["x", /expected "path=value"/], ["nope=1", /is no field of VirtualMachine/], ["spec=1", /more than one value/], ["metadata.labels=1", /more than one value/],
        ["status.ready=maybe", /true or false/], ["status.last_epoch=1.5", /whole number/], ["spec.run_strategy=Always", /one of RUN_STRATEGY_UNSPECIFIED/],
      ];
      for (const [fieldSelector, words] of fields) await invalid(() => machines.listVirtualMachines({ ...EVERYTHING, fieldSelector }), { field_selector: words });
      await invalid(() => machines.listVirtualMachines({ ...EVERYTHING, labelSelector: "a".repeat(1_025) }), { label_selector: /1024/ });
    });

    it("revisions of another store, ahead of this one, and of nobody", async () => {
      const watch = (fromRevision: string) => async () => {
        for await (const _ of server.user.machines.watchVirtualMachines({ ...EVERYTHING, fromRevision })) break;
      };
      const { revision } = await server.user.machines.listVirtualMachines(EVERYTHING);
      const [incarnation, number] = revision.split(".");
      for (const from of ["x", "1", `other.${number}`, `${incarnation}.`, `${incarnation}.-1`, `${incarnation}.1e3`, `${incarnation}.99999999999999999999`]) {
        const { metadata } = await refusedAs("OUT_OF_RANGE", "REVISION_NOT_OF_THIS_STORE", watch(from));
        assert.equal(metadata["newest"], revision, from);
      }
      const ahead = await refusedAs("OUT_OF_RANGE", "REVISION_NOT_OF_THIS_STORE", watch(`${incarnation}.${Number(number) + 100}`));
      assert.match(ahead.message, /ahead|newest|not of this store|beyond/i);
      await invalid(watch("x".repeat(65)), { from_revision: /64/ });
    });
  });

  describe("changes", () => {
    it("versions that are stale, foreign or nobody's; another uid; what is not there or there already", async () => {
      const first = web.metadata!;
      web = (await update({ ...web, metadata: { ...first, labels: { app: "new" } } }, ["metadata.labels"])).virtualMachine!;
      for (const resourceVersion of [first.resourceVersion, "other.1", "x", `${web.metadata!.resourceVersion}0`]) {
        const { message } = await refusedAs("ABORTED", "STALE_RESOURCE_VERSION", () => update({ ...web, metadata: { ...web.metadata!, resourceVersion } }));
        assert.match(message, /has changed since it was read/);
        await refusedAs("ABORTED", "STALE_RESOURCE_VERSION", ({ machines }) => machines.deleteVirtualMachine({ ...NAMED, uid: "", resourceVersion }));
      }
      await refusedAs("ABORTED", "UID_MISMATCH", ({ machines }) => machines.deleteVirtualMachine({ ...NAMED, uid: "other", resourceVersion: "" }));
      await refusedAs("ALREADY_EXISTS", "ALREADY_EXISTS", ({ machines }) => machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine() }));
      for (const name of ["none", "a/b", "..", "../../nodes/a", "\u0000", "x".repeat(10_000)]) {
        const { code } = await leavingNothing(server, () => refusal(server.user.machines.getVirtualMachine({ namespace: "", name })));
        assert.ok(code === "NOT_FOUND" || code === "INVALID_ARGUMENT", `${name}: ${code}`);
      }
      const space = await refusedAs("FAILED_PRECONDITION", "NAMESPACE_NOT_FOUND", ({ machines }) =>
        machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine({ name: "web", namespace: "nowhere" }) }));
      assert.deepEqual(space.preconditions, ["NAMESPACE_NOT_FOUND"]);
      await invalid(({ machines }) => machines.getVirtualMachine({ namespace: "", name: "" }), { name: /./ });
    });

    it("masks that name nothing, or what is not the user's", async () => {
      for (const [path, words] of [["status", /not for users/], ["metadata.name", /not for users/], ["metadata.finalizers", /not for users/], ["spec.nope", /is no field/], ["", /./], ["spec..template", /is no field/], ["*", /is no field/]] as const) {
        await invalid(() => update(web, [path]), { update_mask: words });
      }
      await invalid(() => update(web, ["spec.nope", "metadata.uid"]), { update_mask: /is no field.*; .*not for users/ });
      await invalid(() => update(undefined), { virtual_machine: /required/ });
      await invalid(() => update(VirtualMachine.create({ spec: web.spec! })), { "virtual_machine.metadata.name": /required/ });
    });

    it("updates to what no machine may be, and of what is fixed", async () => {
      const { spec } = changed(({ domain }) => {
        domain!.firmware!.uuid = "00000000-0000-4000-8000-000000000000";
      });
      await invalid(() => update({ ...web, spec }), { "virtual_machine.spec.template.spec.domain.firmware.uuid": /must stay "5a6b0b2e-.*: it is the machine's identity/ });
      await invalid(() => update({ ...web, spec: { ...web.spec!, runStrategy: 77 as never } }), { "virtual_machine.spec.run_strategy": /./ });
      await invalid(() => update({ ...web, metadata: { ...web.metadata!, labels: { a: "b c" } } }), { 'virtual_machine.metadata.labels["a"]': /characters/ });
      await invalid(() => update({ ...web, spec: undefined }, ["spec"]), {
        "virtual_machine.spec": /required/, "virtual_machine.spec.template.spec.domain.firmware.uuid": /must stay/,
      });
    });

    it("addresses and a firmware UUID that another machine has, all at once", async () => {
      const twin = { ...wholeMachine(), metadata: { ...wholeMachine().metadata!, name: "twin" } };
      const { preconditions, message } = await refusedAs("FAILED_PRECONDITION", "DUPLICATE_FIRMWARE_UUID", ({ machines }) =>
        machines.createVirtualMachine({ ...ONCE, virtualMachine: twin }));
      assert.deepEqual(preconditions, ["DUPLICATE_FIRMWARE_UUID", "DUPLICATE_MAC_ADDRESS", "DUPLICATE_MAC_ADDRESS"]);
      assert.match(message, /interfaces\[1\]\.mac_address: "02:.*" belongs to the machine "default\/web"/);
      await refusedAs("FAILED_PRECONDITION", "DUPLICATE_FIRMWARE_UUID", ({ instances }) => instances.createVirtualMachineInstance({
        ...ONCE, virtualMachineInstance: VirtualMachineInstance.create({ metadata: { name: "twin" }, spec: twin.spec!.template!.spec! }),
      }));
    });

    it("an id that was used for another request; the same one is answered as it was", async () => {
      const { machines } = server.user;
      const request = { requestId: "first-1", validateOnly: false, virtualMachine: wholeMachine({ name: "twice" }) };
      const first = await machines.createVirtualMachine(request);
      assert.deepEqual(await leavingNothing(server, () => machines.createVirtualMachine(request)), first);
      const reused = async (attempt: () => Promise<unknown>) => {
        const { fields, message } = await refusedAs("INVALID_ARGUMENT", "REQUEST_ID_REUSED", attempt);
        assert.deepEqual([...fields.keys()], ["request_id"], message);
      };
      await reused(() => machines.createVirtualMachine({ ...request, virtualMachine: wholeMachine({ name: "thrice" }) }));
      await reused(() => machines.startVirtualMachine({ ...NAMED, requestId: "first-1" }));
      for (const requestId of ["two words", "ä", "\u0007", "x".repeat(129)]) await invalid(() => machines.startVirtualMachine({ ...NAMED, requestId }), { request_id: /./ });
    });
  });

  describe("verbs", () => {
    it("on a machine that does not run, or is not there", async () => {
      const restarted = await refusedAs("FAILED_PRECONDITION", "NOT_RUNNING", ({ machines }) => machines.restartVirtualMachine({ ...NAMED, force: false }));
      assert.match(restarted.message, /Cannot restart "web": it has no run/);
      const moved = await refusedAs("FAILED_PRECONDITION", "NOT_RUNNING", ({ machines }) => machines.migrateVirtualMachine({ ...NAMED, targetNode: "", addedNodeSelector: {} }));
      assert.deepEqual(moved.preconditions, ["NOT_RUNNING"]);
      const migration = VirtualMachineInstanceMigration.create({ metadata: { name: "move" }, spec: { vmiName: "web" } });
      await leavingNothing(server, async () => {
        const { code } = await refusal(server.user.migrations.createVirtualMachineInstanceMigration({ ...ONCE, migration }));
        assert.ok(code === "FAILED_PRECONDITION" || code === "NOT_FOUND", code);
      });
      const nobody = { ...NAMED, name: "nobody" };
      for (const attempt of [
        (user: Clients) => user.machines.startVirtualMachine(nobody),
        (user: Clients) => user.machines.stopVirtualMachine({ ...nobody, force: true }),
        (user: Clients) => user.machines.restartVirtualMachine({ ...nobody, force: true }),
        (user: Clients) => user.machines.migrateVirtualMachine({ ...nobody, targetNode: "", addedNodeSelector: {} }),
        (user: Clients) => user.machines.explainVirtualMachine(nobody),
        (user: Clients) => user.machines.deleteVirtualMachine({ ...nobody, uid: "", resourceVersion: "" }),
        (user: Clients) => user.migrations.cancelMigration(nobody),
        (user: Clients) => user.nodes.cordonNode({ ...ONCE, name: "nobody" }),
        async (user: Clients) => { for await (const _ of user.instances.readConsole({ ...WEB, name: "nobody", follow: true })) break; },
      ]) assert.match((await refusedAs("NOT_FOUND", "NOT_FOUND", attempt)).message, /nobody/);
    });

    it("with arguments that cannot be", async () => {
      await invalid(({ machines }) => machines.stopVirtualMachine({ ...NAMED, force: true, gracePeriodSeconds: 5 }), { grace_period_seconds: /absent or 0 together with force: current value is 5/ });
      await invalid(({ machines }) => machines.stopVirtualMachine({ ...NAMED, force: false, gracePeriodSeconds: 86_401 }), { grace_period_seconds: /86400/ });
      await invalid(({ machines }) => machines.migrateVirtualMachine({ ...NAMED, targetNode: "n".repeat(254), addedNodeSelector: {} }), { target_node: /253/ });
      await invalid(({ nodes }) => nodes.confirmFenced({ ...ONCE, name: "", typedName: "", reason: "" }), { name: /./, reason: /./ });
      await invalid(async ({ instances }) => { for await (const _ of instances.readConsole({ ...WEB, follow: false, tailBytes: 1_048_577 })) break; }, { tail_bytes: /1048576/ });
    });
  });

  it("other kinds that are not well formed", async () => {
    const meta = wholeMachine({ name: "x" }).metadata!;
    const bad = { ...meta, name: "Not Good", namespace: "" };
    await invalid(({ spaces }) => spaces.createNamespace({ ...ONCE, namespace: { metadata: { ...bad, namespace: "default" } } }), { "namespace.metadata.name": /1 to 63/, "namespace.metadata.namespace": /must be empty/ });
    const node = Node.create({
      metadata: bad,
      spec: { maxMemory: "-1", taints: [{ key: "a b", value: "<", effect: TaintEffect.NO_SCHEDULE }, { key: "k", value: "", effect: 9 as never }, { key: "k", value: "", effect: 9 as never }] },
    });
    await invalid(({ nodes }) => nodes.createNode({ ...ONCE, node }), {
      "node.metadata.name": /at most 253/, "node.spec.max_memory": /quantity from 1Mi to 1Pi/, "node.spec.taints[0].key": /characters/, "node.spec.taints[0].value": /characters/,
      "node.spec.taints[1].effect": /./, "node.spec.taints[2].effect": /./, "node.spec.taints[2]": /unique/,
    });
    const volume = Volume.create({ metadata: bad, spec: { poolId: "", image: "../x" } });
    await invalid(({ volumes }) => volumes.createVolume({ ...ONCE, volume }), { "volume.metadata.name": /./, "volume.spec.pool_id": /./, "volume.spec.image": /name of a file in the pool/ });
    const event = {
      metadata: undefined, regarding: undefined, reason: "no reason", message: "x".repeat(1_025), type: EventType.UNSPECIFIED, source: "", count: 0, firstTime: undefined, lastTime: undefined,
    };
    await leavingNothing(server, async () => {
      const { code, fields } = await refusal(server.user.events.createEvent({ ...ONCE, event }));
      assert.equal(code, "INVALID_ARGUMENT");
      assert.ok(["event.regarding", "event.reason", "event.message", "event.type"].every((path) => fields.has(path)), [...fields.keys()].join());
    });
    const migration = VirtualMachineInstanceMigration.create({ metadata: { name: "m" }, spec: { vmiName: "A/B", targetNode: "x y", addedNodeSelector: { "": "" } } });
    await invalid(({ migrations }) => migrations.createVirtualMachineInstanceMigration({ ...ONCE, migration }), {
      "migration.spec.vmi_name": /1 to 63/, "migration.spec.target_node": /253/, 'migration.spec.added_node_selector[""]': /characters/,
    });
  });

  it("users, where only the control plane may", async () => {
    for (const [path, row] of ROWS) {
      const code = row === "control-plane" ? Status.PERMISSION_DENIED : path.startsWith("/drover.agent.") ? Status.UNIMPLEMENTED : undefined;
      if (code !== undefined) assert.equal(await leavingNothing(server, () => server.send(path, Buffer.alloc(0))), code, path);
    }
    const denied = await leavingNothing(server, () => refusal(server.user.machines.updateVirtualMachineStatus({ virtualMachine: web })));
    assert.deepEqual([denied.code, denied.reason], ["PERMISSION_DENIED", "PERMISSION_DENIED"]);
  });

  it("messages and headers that are too large", async () => {
    const huge = changed(({ volumes }) => {
      volumes[2]!.source = { $case: "cloudInitNoCloud", value: { userData: { value: "x".repeat(MIB), digest: "" }, networkData: undefined } };
    });
    await refusedAs("RESOURCE_EXHAUSTED", "", () => server.user.machines.createVirtualMachine({ ...ONCE, virtualMachine: huge }));
    const large = changed(({ volumes }) => {
      volumes[2]!.source = { $case: "cloudInitNoCloud", value: { userData: { value: "x".repeat(65_537), digest: "" }, networkData: undefined } };
    });
    await invalid(({ machines }) => machines.createVirtualMachine({ ...ONCE, virtualMachine: large }), { "virtual_machine.spec.template.spec.volumes[2].cloud_init_no_cloud.user_data.value": /65536/ });
    await refusedAs("RESOURCE_EXHAUSTED", "METADATA_TOO_LARGE", ({ machines }) => machines.listVirtualMachines(EVERYTHING, { metadata: Metadata({ note: "x".repeat(9_000) }) }));
  });

  it("bytes that mean nothing, to every call: a clean refusal, and the server stays", async () => {
    const paths = [...ROWS.keys()].filter((path) => path.startsWith("/drover.v1.") && !/\/(Watch|ReadConsole|Export)/.test(path));
    const clean = new Set(["OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED"].map((name) => Status[name as keyof typeof Status]));
    const check = async (path: string, bytes: Uint8Array) => {
      const code = await server.send(path, Buffer.from(bytes));
      assert.ok(clean.has(code), `${path} answered ${Status[code]} to ${Buffer.from(bytes).toString("hex").slice(0, 200)}`);
    };
    await fc.assert(fc.asyncProperty(fc.constantFrom(...paths), fc.uint8Array({ maxLength: 300 }), check), { numRuns: 1_500 });
    const whole = CreateVirtualMachineRequest.encode({ requestId: "", validateOnly: true, virtualMachine: wholeMachine({ name: "mutant" }) }).finish();
    const create = "/drover.v1.VirtualMachineService/CreateVirtualMachine";
    const mutant = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    await fc.assert(fc.asyncProperty(mutant, fc.nat(whole.length), async (changes, length) => {
      const bytes = Uint8Array.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      await check(create, length % 2 === 0 ? bytes : bytes.subarray(0, length));
    }), { numRuns: 1_000 });
    assert.ok(server.program.isAlive());
    assert.equal((await server.user.machines.getVirtualMachine(WEB)).virtualMachine!.metadata!.uid, web.metadata!.uid);
  });
});
