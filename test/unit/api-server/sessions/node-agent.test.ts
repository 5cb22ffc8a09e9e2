import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import { AssignmentRole, AttachRequest } from "../../../../gen/drover/agent/v1/agent.ts";
import { EventType } from "../../../../gen/drover/v1/event.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { RunOutcome } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, Phase, ReleaseReason } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Channel } from "../../../../lib/channel.ts";
import { MemoryStore } from "../../../../api-server/store/memory.ts";
import { BOOT } from "../subresources/records.ts";
import { LEASE_MS, random, serve, Agent, refused, eventually, bound, named, report, nodeReport, joined } from "./serving.ts";

describe("an agent and the server", function () {
  this.timeout(20_000);

  it("bring a machine from its assignment to Running and to its end", async () => {
    await using server = await serve();
    const { client, agent, welcome } = await joined(server, "a");
    assert.deepEqual([welcome.nodeName, welcome.storeId, welcome.leaseMs], ["a", "store-1", LEASE_MS]);
    await agent.hear("synced");
    assert.equal((await server.nodes.getNode({ name: "a" })).node!.status!.session!.state, NodeSessionState.CONNECTED);

    const vmi = await bound(server, "a");
    const assignment = await agent.hear("assignment");
    assert.deepEqual([assignment.role, assignment.instance!.metadata!.uid], [AssignmentRole.OWNER, vmi.metadata!.uid]);

    const claim = { ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance };
    await refused(client.claim({ ...claim, epoch: 2 }), Status.FAILED_PRECONDITION);
    const claimed = (await client.claim(claim)).instance!;
    assert.equal(claimed.status!.claim!.nodeName, "a");
    const repeated = (await client.claim(claim)).instance!;
    assert.equal(repeated.metadata!.resourceVersion, claimed.metadata!.resourceVersion, "a repeat commits nothing");
    await agent.hear("assignment");

    await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING, reason: "booted" }));
    const running = (await agent.hear("assignment")).instance!;
    assert.equal(running.status!.phase, Phase.RUNNING);
    const before = await server.store.head();
    await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING, reason: "booted" }));
    assert.equal(await server.store.head(), before, "a repeated report commits nothing");

    await server.vmis.deleteVirtualMachineInstance({ ...named, uid: "", resourceVersion: "", requestId: "", validateOnly: false });
    assert.ok((await agent.hear("assignment")).instance!.metadata!.deletionTimestamp);
    await client.report(report(agent, vmi, 2, { state: DomainState.GONE, reason: "destroyed" }));
    const gone = (await agent.hear("assignment")).instance!;
    assert.equal(gone.status!.phase, Phase.SUCCEEDED);

    const release = { ...named, uid: vmi.metadata!.uid, resourceVersion: gone.metadata!.resourceVersion, reason: ReleaseReason.GONE };
    await refused(server.vmis.releaseVirtualMachineInstance(release), Status.FAILED_PRECONDITION, /does not know/);
    const { virtualMachine: vm } = await server.vms.getVirtualMachine(named);
    const status = { ...vm!.status!, lastEpoch: 1, lastRun: { uid: vmi.metadata!.uid, outcome: RunOutcome.STOPPED, message: "", powerGeneration: 2, reachedRunning: true, ended: undefined } };
    await server.vms.updateVirtualMachineStatus({ virtualMachine: { ...vm!, status } });
    await server.vmis.releaseVirtualMachineInstance(release);
    assert.equal((await agent.hear("withdrawn")).vmiUid, vmi.metadata!.uid);
    await refused(server.vmis.getVirtualMachineInstance(named), Status.NOT_FOUND);
    const looked = await client.lookupMachine({ namespace: "default", vmName: "web", vmUid: vm!.metadata!.uid, vmiUid: vmi.metadata!.uid, volumes: [] });
    assert.deepEqual([looked.instance, looked.tombstone, looked.lastEpoch], [undefined, false, 1]);
  });

  it("agree on one agent for each identity and one host for each name", async () => {
    await using server = await serve();
    const { client, agent, welcome } = await joined(server, "a");
    await refused(new Agent(client).next(), Status.ALREADY_EXISTS, /identity/);
    await refused(new Agent(client, { nodeUid: "0b5e6d1e-0000-4000-8000-000000000002" }).next(), Status.FAILED_PRECONDITION, /delete the node/);
    assert.equal((await client.renew({ sessionId: welcome.sessionId })).leaseMs, LEASE_MS);
    await refused(client.renew({ sessionId: "another" }), Status.PERMISSION_DENIED);
    await refused(client.renew({ sessionId: `${welcome.sessionId}0` }), Status.ABORTED);

    const again = new Agent(client, { instance: agent.instance });
    await again.hear("welcome");
    await refused(client.renew({ sessionId: welcome.sessionId }), Status.ABORTED);
    again.leave();
    await eventually(async () => !server.sessions.connected("a"));
    await new Agent(client).hear("welcome");
  });

  it("refuse the calls of a process without a session", async () => {
    await using server = await serve();
    const { client } = await joined(server, "a");
    const vmi = await bound(server, "a");
    const claim = { ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: random.uuid() };
    await refused(client.claim(claim), Status.ABORTED);
  });

  it("let nobody speak for another node's machine", async () => {
    await using server = await serve();
    await joined(server, "a");
    const b = await joined(server, "b");
    await b.agent.hear("synced");
    const vmi = await bound(server, "a");
    await refused(b.client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: b.agent.instance }), Status.PERMISSION_DENIED);
    await refused(b.client.report(report(b.agent, vmi, 1, { state: DomainState.GONE })), Status.PERMISSION_DENIED);
    const event = {
      ...report(b.agent, vmi, 2, {}),
      part: { $case: "event" as const, value: { reason: "Lied", message: "", type: EventType.WARNING, regarding: { kind: "VirtualMachineInstance", ...named, uid: "" }, source: "controller", metadata: undefined, count: 0, firstTime: undefined, lastTime: undefined } },
    };
    await refused(b.client.report(event), Status.PERMISSION_DENIED);
    const about = (name: string) => ({ ...event, part: { $case: "event" as const, value: { ...event.part.value, regarding: { kind: "Node", name, namespace: "", uid: "" } } } });
    await refused(b.client.report(about("a")), Status.PERMISSION_DENIED);
    const own = about("b");
    await b.client.report(own);
    await b.client.report(own);
    const { events } = await server.events.listEvents({ namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "reason=Lied" });
    assert.deepEqual(events.map(({ regarding, source, count }) => [regarding!.name, source, count]), [["b", "node/b", 1]]);
  });

  it("turn a machine down that the node has no memory for, until it has", async () => {
    await using server = await serve();
    const { client, agent } = await joined(server, "a");
    await agent.hear("synced");
    await client.report(nodeReport(agent, { memoryBytes: 128 * 1024 ** 2 }));
    const vmi = await bound(server, "a");
    const claim = { ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance };
    await refused(client.claim(claim), Status.FAILED_PRECONDITION, /needs 226.3Mi of memory and "a" has 128Mi left/);
    await client.report(nodeReport(agent, { generation: 2, memoryBytes: 256 * 1024 ** 2 }));
    assert.equal((await client.claim(claim)).instance!.status!.claim!.nodeName, "a");
    await client.report(nodeReport(agent, { generation: 3, memoryBytes: 128 * 1024 ** 2 }));
    await client.claim(claim);
  });

  it("find a node silent after its lease and not before, and free it only by a fence", async () => {
    await using server = await serve();
    const { client, agent, welcome } = await joined(server, "a");
    await agent.hear("synced");
    const vmi = await bound(server, "a");
    await client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
    await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING }));
    const state = async () => (await server.nodes.getNode({ name: "a" })).node!.status!.session!.state;
    server.clock.pass(LEASE_MS - 1);
    await client.renew({ sessionId: welcome.sessionId });
    server.clock.pass(LEASE_MS - 1);
    assert.equal(await state(), NodeSessionState.CONNECTED);
    const fence = { name: "a", typedName: "a", reason: "power is off", requestId: "", validateOnly: false };
    await refused(server.nodes.confirmFenced(fence), Status.FAILED_PRECONDITION, /connected/);

    server.clock.pass(1);
    await eventually(async () => (await state()) === NodeSessionState.SILENT);
    await refused(client.renew({ sessionId: welcome.sessionId }), Status.ABORTED);
    await refused(server.nodes.confirmFenced({ ...fence, typedName: "b" }), Status.INVALID_ARGUMENT, /typed_name/);
    assert.ok((await server.nodes.confirmFenced(fence)).node!.status!.fence);

    await server.vmis.deleteVirtualMachineInstance({ ...named, uid: "", resourceVersion: "", requestId: "", validateOnly: false });
    const { virtualMachine: vm } = await server.vms.getVirtualMachine(named);
    await server.vms.updateVirtualMachineStatus({ virtualMachine: { ...vm!, status: { ...vm!.status!, lastEpoch: 1 } } });
    const current = (await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance!;
    const { uid, resourceVersion } = current.metadata!;
    await server.vmis.releaseVirtualMachineInstance({ ...named, uid, resourceVersion, reason: ReleaseReason.FENCED });

    const back = new Agent(client);
    await back.hear("welcome");
    await back.hear("synced");
    assert.equal((await server.nodes.getNode({ name: "a" })).node!.status!.fence, undefined);
    const looked = await client.lookupMachine({ namespace: "default", vmName: "web", vmUid: vm!.metadata!.uid, vmiUid: uid, volumes: [] });
    assert.deepEqual([looked.tombstone, looked.instance], [true, undefined]);
  });

  it("hold a restarted server's judgement for one lease", async () => {
    const store = new MemoryStore({ identity: { storeId: "store-1", incarnation: "one" } });
    {
      await using server = await serve(store);
      await joined(server, "a");
    }
    await using server = await serve(store);
    const state = async () => (await server.nodes.getNode({ name: "a" })).node!.status!.session!.state;
    server.clock.pass(LEASE_MS - 1);
    assert.equal(await state(), NodeSessionState.CONNECTED);
    server.clock.pass(1);
    await eventually(async () => (await state()) === NodeSessionState.SILENT);
  });

  it("explain a machine down to what libvirt says, and stream its console", async () => {
    await using server = await serve();
    const { client, agent } = await joined(server, "a");
    await agent.hear("synced");
    await client.report(nodeReport(agent, { hypervisorConnected: true, cpus: 2 }));
    await refused(server.vmis.readConsole({ ...named, follow: false })[Symbol.asyncIterator]().next(), Status.NOT_FOUND);
    const vmi = await bound(server, "a");
    await client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
    await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING }));
    const { virtualMachine: vm } = await server.vms.getVirtualMachine(named);
    await server.vms.updateVirtualMachineStatus({ virtualMachine: { ...vm!, status: { ...vm!.status!, observedGeneration: vm!.metadata!.generation } } });

    const explaining = server.vms.explainVirtualMachine(named);
    for (;;) {
      const message = await agent.next();
      if (message.$case !== "command") continue;
      agent.answer(message.value.commandId, { exists: true, state: "running", reason: "booted", name: "default_web", epoch: 1, job: "none" });
      break;
    }
    const { steps, heldAt } = await explaining;
    assert.equal(heldAt, -1, JSON.stringify(steps));
    assert.match(steps[0]!.details.join("\n"), /StartVirtualMachine by local .* request start-1/);

    const console_ = server.vmis.readConsole({ ...named, follow: true })[Symbol.asyncIterator]();
    const first = console_.next();
    const offer = await eventually(async () => {
      const message = await agent.next();
      return message.$case === "tunnelOffer" && message.value;
    });
    assert.deepEqual([offer.vmiUid, offer.epoch, offer.tailBytes], [vmi.metadata!.uid, 1, 65_536]);
    const sent = new Channel<AttachRequest>(10);
    const attached = (async () => {
      for await (const _ of client.attach(sent));
    })();
    await sent.push(AttachRequest.create({ message: { $case: "open", value: { tunnelId: offer.tunnelId } } }));
    assert.equal((await first).value!.data.length, 0);
    await sent.push(AttachRequest.create({ message: { $case: "data", value: Buffer.from("hello") } }));
    assert.equal((await console_.next()).value!.data.toString(), "hello");

    const moved = (await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance!;
    await server.vmis.updateVirtualMachineInstanceStatus({ virtualMachineInstance: { ...moved, status: { ...moved.status!, nodeName: "b", epoch: 2 } } });
    await refused(console_.next(), Status.ABORTED);
    await attached;
  });

  it("answer power verbs and migrations with all that stands in the way", async () => {
    await using server = await serve();
    const { client, agent } = await joined(server, "a");
    await agent.hear("synced");
    const vmi = await bound(server, "a");
    const migrate = { ...named, targetNode: "nowhere", addedNodeSelector: {}, requestId: "", validateOnly: false };
    await refused(server.vms.migrateVirtualMachine(migrate), Status.FAILED_PRECONDITION, /does not run; .*No node is named/);
    await client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
    await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING }));
    const asked = { ...migrate, targetNode: "", requestId: "m-1" };
    const { migration } = await server.vms.migrateVirtualMachine(asked);
    assert.match(migration!.metadata!.name, /^web-[0-9a-v]{8}$/);
    assert.equal((await server.vms.migrateVirtualMachine(asked)).migration!.metadata!.uid, migration!.metadata!.uid, "the same request id, the same migration");
    await refused(server.vms.migrateVirtualMachine({ ...asked, requestId: "m-2" }), Status.FAILED_PRECONDITION, /has not ended/);
    const cancel = { namespace: "", name: migration!.metadata!.name, requestId: "", validateOnly: false };
    assert.equal((await server.migrations.cancelMigration(cancel)).migration!.status!.cancelRequested, true);

    const restart = { ...named, force: false, requestId: "", validateOnly: false };
    const { virtualMachine } = await server.vms.restartVirtualMachine(restart);
    assert.equal(virtualMachine!.status!.power!.restartUid, vmi.metadata!.uid);
    const repeated = await server.vms.restartVirtualMachine(restart);
    assert.equal(repeated.virtualMachine!.metadata!.resourceVersion, virtualMachine!.metadata!.resourceVersion);
    await refused(server.vms.stopVirtualMachine({ ...restart, force: true, gracePeriodSeconds: 9 }), Status.INVALID_ARGUMENT, /grace_period_seconds/);
    const dry = await server.nodes.cordonNode({ name: "a", requestId: "", validateOnly: true });
    assert.equal(dry.node!.spec!.unschedulable, true);
    assert.equal((await server.nodes.getNode({ name: "a" })).node!.spec!.unschedulable, false);
  });
});
