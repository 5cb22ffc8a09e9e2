/** The real server behind real sockets, over a store in memory: who may do what, what callers are told, how it ends. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { ClientError, Metadata, Status } from "nice-grpc";
import { BadRequest, ErrorInfo, RichClientError } from "nice-grpc-error-details";
import { EventServiceDefinition, EventType } from "../../../gen/drover/v1/event.ts";
import { NamespaceServiceDefinition } from "../../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../../gen/drover/v1/node.ts";
import { UpdateVirtualMachineRequest, VirtualMachineServiceDefinition } from "../../../gen/drover/v1/virtual_machine.ts";
import { connect } from "../../../lib/client.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";
import { systemRandom } from "../../../lib/random.ts";
import { assemble } from "../../../api-server/assemble.ts";
import { listenersOf } from "../../../api-server/listeners.ts";
import { listenAll } from "../../../api-server/server.ts";
import { MemoryStore } from "../../../api-server/store/memory.ts";
import { machine } from "./fixture.ts";

/** Far longer than a stop takes that nobody has to be cut off for. */
const GRACE_MS = 10_000;

async function serve() {
  const directory = mkdtempSync(join(tmpdir(), "drover-api-"));
  const unix = join(directory, "api.sock");
  const store = new MemoryStore({ identity: { storeId: "store", incarnation: "test" } });
  const assembly = await assemble({ store, clock: systemClock, random: systemRandom, log: silentLog, leaseMs: 15_000 });
  const listening = await listenAll(listenersOf({ listen: { unix, insecureLoopback: "127.0.0.1:0" }, auth: { oidc: [] } }, assembly.parts), assembly.server);
  const local = connect({ server: `unix://${unix}` });
  const remote = connect({ server: `127.0.0.1:${listening[1]!.port}` });
  const stop = async () => {
    await Promise.all([assembly.stop(), ...listening.map((each) => each.close(GRACE_MS))]);
  };
  return {
    unix, store, local, remote, stop,
    remoteAddress: `127.0.0.1:${listening[1]!.port}`,
    async [Symbol.asyncDispose]() {
      local[Symbol.dispose]();
      remote[Symbol.dispose]();
      await stop();
      rmSync(directory, { recursive: true });
    },
  };
}

const code = (expected: Status) => (error: unknown) => error instanceof ClientError && error.code === expected;
const page = { pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" };
const create = { requestId: "", validateOnly: false };

describe("api-server over sockets", function () {
  this.timeout(20_000);

  it("serves users and local administrators the same records", async () => {
    await using server = await serve();
    const made = await server.remote.client(VirtualMachineServiceDefinition).createVirtualMachine({ ...create, virtualMachine: machine() });
    const seen = await server.local.client(VirtualMachineServiceDefinition).getVirtualMachine({ namespace: "", name: "web" });
    assert.deepEqual(seen.virtualMachine, made.virtualMachine);
    assert.equal(statSync(server.unix).mode & 0o777, 0o600);
  });

  it("keeps status updates for the control plane", async () => {
    await using server = await serve();
    const { virtualMachine } = await server.remote.client(VirtualMachineServiceDefinition).createVirtualMachine({ ...create, virtualMachine: machine() });
    const update = { virtualMachine: { ...virtualMachine!, status: { ...virtualMachine!.status!, ready: true, power: undefined } } };
    await assert.rejects(server.remote.client(VirtualMachineServiceDefinition).updateVirtualMachineStatus(update), code(Status.PERMISSION_DENIED));
    const { virtualMachine: updated } = await server.local.client(VirtualMachineServiceDefinition).updateVirtualMachineStatus(update);
    assert.deepEqual([updated!.status!.ready, updated!.status!.power], [true, virtualMachine!.status!.power]);
  });

  it("ignores an identity that a client claims in a header, and does not serve agents here", async () => {
    await using server = await serve();
    const metadata = Metadata({ "x-drover-node": "a" });
    const { namespaces } = await server.remote.client(NamespaceServiceDefinition).listNamespaces(page, { metadata });
    assert.equal(namespaces.length, 1);
    const { NodeAgentServiceDefinition } = await import("../../../gen/drover/agent/v1/agent.ts");
    const agent = server.remote.client(NodeAgentServiceDefinition);
    await assert.rejects(agent.renew({ sessionId: "x" }, { metadata }), code(Status.UNIMPLEMENTED));
  });

  it("says every fault with its path and why", async () => {
    await using server = await serve();
    const machines = server.remote.client(VirtualMachineServiceDefinition);
    const error: unknown = await machines.createVirtualMachine({ ...create, virtualMachine: machine({ name: "A b" }), requestId: "r\u0001" }).catch((caught: unknown) => caught);
    assert.ok(error instanceof RichClientError);
    assert.equal(error.code, Status.INVALID_ARGUMENT);
    const bad = error.extra.find((detail) => detail.$type === BadRequest.$type) as BadRequest;
    assert.deepEqual([...new Set(bad.fieldViolations.map(({ field }) => field))], ["request_id", "virtual_machine.metadata.name"]);
    const info = error.extra.find((detail) => detail.$type === ErrorInfo.$type) as ErrorInfo;
    assert.deepEqual([info.reason, info.domain], ["INVALID_FIELDS", "drover.dev"]);
  });

  it("refuses what is too large, too many and too wide, and stays up", async () => {
    await using server = await serve();
    const machines = server.remote.client(VirtualMachineServiceDefinition);
    const huge = machine({ userData: "x".repeat(2 * 1024 * 1024) });
    await assert.rejects(machines.createVirtualMachine({ ...create, virtualMachine: huge }), code(Status.RESOURCE_EXHAUSTED));
    const labels = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`-${i}`, "bad value"]));
    await assert.rejects(machines.createVirtualMachine({ ...create, virtualMachine: machine({ labels }) }), code(Status.INVALID_ARGUMENT));
    const metadata = Metadata({ padding: "x".repeat(9_000) });
    await assert.rejects(machines.listVirtualMachines({ ...page, namespace: "" }, { metadata }), code(Status.RESOURCE_EXHAUSTED));
    await assert.rejects(machines.listVirtualMachines({ ...page, namespace: "", pageSize: 501 }), code(Status.INVALID_ARGUMENT));
    assert.deepEqual((await machines.listVirtualMachines({ ...page, namespace: "" })).virtualMachines, []);
  });

  it("takes parts of an object by mask, and refuses a stale version", async () => {
    await using server = await serve();
    const machines = server.remote.client(VirtualMachineServiceDefinition);
    const { virtualMachine: first } = await machines.createVirtualMachine({ ...create, virtualMachine: machine() });
    const request = (labels: Record<string, string>, updateMask: string[]) =>
      UpdateVirtualMachineRequest.create({ virtualMachine: { metadata: { ...first!.metadata!, labels } }, updateMask });
    const { virtualMachine: second } = await machines.updateVirtualMachine(request({ tier: "web" }, ["metadata.labels"]));
    assert.deepEqual([second!.metadata!.labels, second!.spec], [{ tier: "web" }, first!.spec]);
    await assert.rejects(machines.updateVirtualMachine(request({}, ["metadata.labels"])), code(Status.ABORTED));
    await assert.rejects(machines.updateVirtualMachine(request({}, ["status"])), code(Status.INVALID_ARGUMENT));
  });

  it("keeps the default namespace and every one that is not empty", async () => {
    await using server = await serve();
    const spaces = server.remote.client(NamespaceServiceDefinition);
    const machines = server.remote.client(VirtualMachineServiceDefinition);
    const remove = (name: string) => spaces.deleteNamespace({ ...create, name, uid: "", resourceVersion: "" });
    await spaces.createNamespace({ ...create, namespace: { metadata: { ...machine({ name: "lab" }).metadata!, namespace: "" } } });
    const inLab = { ...machine(), metadata: { ...machine().metadata!, namespace: "lab" } };
    await machines.createVirtualMachine({ ...create, virtualMachine: inLab });
    await assert.rejects(remove("default"), code(Status.FAILED_PRECONDITION));
    await assert.rejects(remove("lab"), code(Status.FAILED_PRECONDITION));
    await assert.rejects(remove("none"), code(Status.NOT_FOUND));
    await spaces.createNamespace({ ...create, namespace: { metadata: { ...machine({ name: "gone" }).metadata! } } });
    const again = { ...create, requestId: "d1", name: "gone", uid: "", resourceVersion: "" };
    const answers = [await spaces.deleteNamespace(again), await spaces.deleteNamespace(again)].map(({ namespace }) => namespace!.metadata!);
    assert.deepEqual([answers[1]!.uid, answers[1]!.resourceVersion], [answers[0]!.uid, answers[0]!.resourceVersion]);
  });

  it("folds repeated events", async () => {
    await using server = await serve();
    const journal = server.local.client(EventServiceDefinition);
    const event = {
      metadata: undefined, regarding: { kind: "Node", namespace: "", name: "a", uid: "u" }, reason: "NodeSilent", message: "no word",
      type: EventType.WARNING, source: "controller", count: 0, firstTime: undefined, lastTime: undefined,
    };
    await journal.createEvent({ ...create, event });
    await journal.createEvent({ ...create, event: { ...event, message: "still no word" } });
    const { events } = await journal.listEvents({ ...page, namespace: "" });
    assert.deepEqual(events.map(({ count, message }) => [count, message]), [[2, "still no word"]]);
  });

  it("watches from a revision, and ends watches with UNAVAILABLE when it stops, within its grace", async () => {
    await using server = await serve();
    const nodes = server.local.client(NodeServiceDefinition);
    const { revision } = await nodes.listNodes(page);
    const watch = nodes.watchNodes({ fromRevision: revision, labelSelector: "", fieldSelector: "" })[Symbol.asyncIterator]();
    assert.equal((await watch.next()).value?.event?.$case, "bookmark");
    await nodes.createNode({ ...create, node: { metadata: { ...machine({ name: "a" }).metadata! }, spec: undefined, status: undefined } });
    assert.equal((await watch.next()).value?.event?.$case, "added");
    const startMs = systemClock.monotonicMs();
    const ended = assert.rejects(async () => { await watch.next(); }, code(Status.UNAVAILABLE));
    await server.stop();
    await ended;
    assert.ok(systemClock.monotonicMs() - startMs < GRACE_MS / 2);
  });

  it("refuses a number that JavaScript would round, like all bad input", async () => {
    await using server = await serve();
    const request = new BinaryWriter();
    const vm = request.uint32(10).fork();
    vm.uint32(10).fork().uint32(32).int64(2n ** 53n).join();
    const bytes = Buffer.from(vm.join().finish());
    const client = new Client(server.remoteAddress, credentials.createInsecure());
    try {
      const same = (buffer: Buffer) => buffer;
      const error = await new Promise<ServiceError | null>((resolve) =>
        client.makeUnaryRequest("/drover.v1.VirtualMachineService/CreateVirtualMachine", same, same, bytes, (failure) => resolve(failure)));
      assert.deepEqual([error?.code, /its bytes cannot be read as one/.test(error?.details ?? "")], [Status.INVALID_ARGUMENT, true], String(error));
    } finally {
      client.close();
    }
  });
});
