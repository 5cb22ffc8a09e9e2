/** What an agent can do with the ids of another node: nothing. And what it can win by lying about its host: nothing either. */
import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import { AttachRequest } from "../../gen/drover/agent/v1/agent.ts";
import type { ReportRequest } from "../../gen/drover/agent/v1/agent.ts";
import { Event, EventType } from "../../gen/drover/v1/event.ts";
import { NodePool } from "../../gen/drover/v1/node.ts";
import { Volume, VolumeState } from "../../gen/drover/v1/volume.ts";
import { DomainState, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerReport, Phase, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { BOOT } from "../unit/api-server/subresources/records.ts";
import { Agent, bound, eventually, joined, named, nodeReport, random, refused, report, serve } from "../unit/api-server/sessions/serving.ts";

type Server = Awaited<ReturnType<typeof serve>>;
type Part = NonNullable<ReportRequest["part"]>;

/** Every byte that is kept, and the revision. */
async function dump(server: Server): Promise<unknown> {
  const { items } = await server.store.list("");
  return [await server.store.head(), items.map(({ key, value, revision }) => [key, Buffer.from(value).toString("hex"), revision])];
}

/** Runs on B, claimed, reported and with a console open; A has a session of its own. */
async function twoNodes(server: Server) {
  const a = await joined(server, "a");
  const b = await joined(server, "b");
  await b.agent.hear("synced");
  const vmi = await bound(server, "b");
  await b.client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: b.agent.instance });
  await b.client.report(report(b.agent, vmi, 1, { state: DomainState.RUNNING }));
  const leaving = new AbortController();
  const reading = server.vmis.readConsole({ ...named, follow: true }, { signal: leaving.signal })[Symbol.asyncIterator]();
  const read = reading.next().catch(() => undefined);
  let tunnelId = "";
  while (tunnelId === "") {
    const message = await b.agent.next();
    if (message.$case === "tunnelOffer") ({ tunnelId } = message.value);
  }
  const leave = async () => {
    leaving.abort();
    await read;
  };
  return { a, b, vmi, tunnelId, [Symbol.asyncDispose]: leave };
}

const parts = (name: string): Record<string, Part> => ({
  owner: { $case: "owner", value: OwnerReport.create({ generation: 9, state: DomainState.GONE }) },
  source: { $case: "migrationSource", value: { migrationUid: "m", report: MigrationSourceReport.create({ state: MigrationSourceState.LEFT }) } },
  target: { $case: "migrationTarget", value: { migrationUid: "m", report: MigrationTargetReport.create({ state: MigrationTargetState.RUNNING }) } },
  progress: { $case: "migrationProgress", value: { migrationUid: "m", progress: undefined } },
  "event of the run": { $case: "event", value: about("VirtualMachineInstance", name) },
  "event of the machine": { $case: "event", value: about("VirtualMachine", name) },
  "event of the node": { $case: "event", value: about("Node", "b") },
});
const about = (kind: string, name: string) =>
  Event.create({ regarding: { kind, name, namespace: kind === "Node" ? "" : "default" }, reason: "Lied", message: "x", type: EventType.WARNING });

describe("a compromised agent", function () {
  this.timeout(60_000);

  it("is refused every RPC with another node's ids, existing or not, and not a byte changes", async () => {
    await using server = await serve();
    await using fleet = await twoNodes(server);
    const { a, b, vmi, tunnelId } = fleet;
    const { uid } = vmi.metadata!;
    const before = await dump(server);
    const no = (attempt: Promise<unknown>, what: string) =>
      refused(attempt, Status.PERMISSION_DENIED, /It is not this node's/).catch((error: unknown) => { throw new Error(what, { cause: error }); });
    for (const [name, vmiUid] of [["web", uid], ["web", random.uuid()], ["none", uid]] as const) {
      for (const agentInstance of [a.agent.instance, b.agent.instance]) {
        await no(a.client.claim({ namespace: "default", name, vmiUid, epoch: 1, boot: BOOT, agentInstance }), `claim ${name}`);
        for (const [what, part] of Object.entries(parts(name))) {
          await no(a.client.report({ agentInstance, seq: 7, namespace: "default", name, vmiUid, epoch: 1, part }), `${what} ${name}`);
        }
      }
    }
    await no(a.client.renew({ sessionId: b.welcome.sessionId }), "renew");
    await no(a.client.renew({ sessionId: "none" }), "renew");
    for (const id of [tunnelId, "none"]) await no(attached(a.client, id), "attach");
    assert.deepEqual(await dump(server), before);
    // With the host's UUID of another, there is no session, and the other's goes on.
    const { certificates } = await a.client.renewCertificate({ csrPem: (await newRequest()).csrPem, migrationCsrPem: (await newRequest()).csrPem });
    assert.equal(certificates!.nodeName, "a");
    await b.client.renew({ sessionId: b.welcome.sessionId });
  });

  it("learns no more of another node's machine than whether a domain of it may live, and that only by its uids", async () => {
    await using server = await serve();
    await using fleet = await twoNodes(server);
    const { a, b, vmi } = fleet;
    const { uid, ownerReferences } = vmi.metadata!;
    const vmUid = ownerReferences[0]!.uid;
    const before = await dump(server);
    const look = (client: typeof a.client, vmName: string, uids: { vmUid: string; vmiUid: string }) => client.lookupMachine({ namespace: "default", vmName, ...uids, volumes: [] });
    const guessed = { vmUid: random.uuid(), vmiUid: random.uuid() };
    const { storeId, ...unknown } = await look(a.client, "web", guessed);
    assert.equal(storeId, "store-1");
    assert.deepEqual(unknown, (({ storeId: _same, ...rest }) => rest)(await look(a.client, "none", guessed)), "existing and missing look the same");
    const { instance, lastEpoch } = await look(a.client, "web", { vmUid, vmiUid: uid });
    assert.deepEqual([instance!.metadata!.uid, instance!.status!.nodeName, instance!.status!.epoch, lastEpoch], [uid, "b", 1, 1]);
    assert.deepEqual([instance!.spec, instance!.metadata!.labels, instance!.status!.ownerReport, instance!.status!.claim, instance!.status!.hardware], [undefined, {}, undefined, undefined, undefined]);
    assert.ok((await look(b.client, "web", { vmUid, vmiUid: uid })).instance!.spec, "its own it sees whole");
    assert.deepEqual(await dump(server), before);
  });

  it("is told where the bytes of its own pools' images are, and of no others", async () => {
    await using server = await serve();
    const [a, b] = [await joined(server, "a"), await joined(server, "b")];
    await a.client.report(nodeReport(a.agent, { pools: [NodePool.create({ name: "ssd", id: "of-a" })] }));
    for (const poolId of ["of-a", "of-b"]) {
      const volume = Volume.create({ metadata: { name: `${poolId}.root` }, spec: { poolId, image: "root" }, status: { state: VolumeState.VACATED, migrationUid: "m" } });
      await server.volumes.createVolume({ volume, requestId: "", validateOnly: false });
    }
    const look = async (client: typeof a.client) => {
      const { volumes } = await client.lookupMachine({ namespace: "default", vmName: "web", vmUid: random.uuid(), vmiUid: random.uuid(), volumes: ["of-a.root", "of-b.root", "none"] });
      return volumes.map(({ metadata, status }) => [metadata!.name, status!.state, status!.migrationUid]);
    };
    assert.deepEqual(await look(a.client), [["of-a.root", VolumeState.VACATED, "m"]]);
    assert.deepEqual(await look(b.client), []);
  });

  it("hears of no machine that is not its own", async () => {
    await using server = await serve();
    const a = await joined(server, "a");
    await a.agent.hear("synced");
    const b = await joined(server, "b");
    await b.agent.hear("synced");
    await bound(server, "b");
    await b.agent.hear("assignment");
    const { virtualMachineInstance: other } = await server.vmis.createVirtualMachineInstance({
      virtualMachineInstance: VirtualMachineInstance.create({ metadata: { name: "own" }, spec: { domain: { memory: { guest: "128Mi" } } }, status: { phase: Phase.SCHEDULED, nodeName: "a", epoch: 1, lastGrantedEpoch: 1 } }),
      requestId: "", validateOnly: false,
    });
    assert.equal((await a.agent.hear("assignment")).instance!.metadata!.uid, other!.metadata!.uid, "the first that it hears of");
  });

  it("is no second host under its name, and takes no other's place by a UUID", async () => {
    await using server = await serve();
    const uuid = { a: random.uuid(), b: random.uuid() };
    const [a, b] = await Promise.all([server.node("a"), server.node("b")]);
    await new Agent(b, { nodeUid: uuid.b }).hear("welcome");
    const first = new Agent(a, { nodeUid: uuid.a });
    await first.hear("welcome");
    await refused(new Agent(a, { nodeUid: uuid.b, instance: first.instance }).next(), Status.FAILED_PRECONDITION, /delete the node/);
  });

  it("wins nothing by reporting more than it is granted, and is told on", async () => {
    await using server = await serve();
    const { client, agent } = await joined(server, "a");
    await agent.hear("synced");
    const { node } = await server.nodes.getNode({ name: "a" });
    await server.nodes.updateNode({ node: { ...node!, spec: { ...node!.spec!, maxCpus: 4, maxMemory: "256Mi", maxMachines: 1 } }, updateMask: ["spec"], requestId: "", validateOnly: false });
    await client.report(nodeReport(agent, { cpus: 1_000_000, memoryBytes: 1024 ** 5 }));
    const { events } = await server.events.listEvents({ namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "reason=ReportExceedsCap" });
    assert.match(events[0]!.message, /1000000 processors where 4 are granted and .* of memory where 256Mi are granted/);
    const vmi = await bound(server, "a");
    const claim = { ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance };
    const { virtualMachineInstance: second } = await server.vmis.createVirtualMachineInstance({
      virtualMachineInstance: VirtualMachineInstance.create({ metadata: { name: "second" }, spec: { domain: { memory: { guest: "16Mi" } } }, status: { phase: Phase.SCHEDULED, nodeName: "a", epoch: 1, lastGrantedEpoch: 1 } }),
      requestId: "", validateOnly: false,
    });
    await client.claim(claim);
    await eventually(async () => (await agent.hear("assignment")).instance!.metadata!.name === "second");
    const late = { ...claim, name: "second", vmiUid: second!.metadata!.uid };
    await refused(client.claim(late), Status.FAILED_PRECONDITION, /as many machines as it is granted/);
  });
});

async function attached(client: Awaited<ReturnType<Server["node"]>>, tunnelId: string): Promise<void> {
  const requests = (async function* () {
    yield AttachRequest.create({ message: { $case: "open", value: { tunnelId } } });
  })();
  for await (const _ of client.attach(requests)) return;
}
