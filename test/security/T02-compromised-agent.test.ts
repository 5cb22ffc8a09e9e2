/** T2: an agent that was taken over, with its node's key, and everything that it knows of another node's machines. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { AttachRequest } from "../../gen/drover/agent/v1/agent.ts";
import type { ReportRequest } from "../../gen/drover/agent/v1/agent.ts";
import { Event, EventType } from "../../gen/drover/v1/event.ts";
import { DomainState, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerReport } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { EVERYTHING, ONCE } from "../contract/auth-server.ts";
import { BOOT } from "../unit/api-server/subresources/records.ts";
import { methods, pathOf } from "./descriptors.ts";
import { runningOn, startInstalled, withUserData } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const SECRET = "only-for-b-8c1f";

describe("T2: a compromised agent", function () {
  this.timeout(60_000);
  let server: Installed;
  let thief: Host;
  let victim: Host;
  let instance: Awaited<ReturnType<typeof runningOn>>["instance"];
  before(async () => {
    server = await startInstalled();
    [thief, victim] = [await server.host("thief"), await server.host("victim")];
    ({ instance } = await runningOn(server, victim, { spec: withUserData(SECRET) }));
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then((answer) => `OK ${JSON.stringify(answer)}`, (error: ClientError) => `${Status[error.code]}: ${error.details}`);

  function parts(): NonNullable<ReportRequest["part"]>[] {
    const { name, namespace, uid } = instance.metadata!;
    const event = (kind: string) => Event.create({ regarding: { kind, name: kind === "Node" ? "victim" : name, namespace, uid }, reason: "Lied", message: "x", type: EventType.WARNING });
    return [
      { $case: "owner", value: OwnerReport.create({ generation: 9, state: DomainState.GONE, nodeName: "victim" }) },
      { $case: "migrationSource", value: { migrationUid: "m", report: MigrationSourceReport.create({ state: MigrationSourceState.LEFT }) } },
      { $case: "migrationTarget", value: { migrationUid: "m", report: MigrationTargetReport.create({ state: MigrationTargetState.RUNNING }) } },
      { $case: "migrationProgress", value: { migrationUid: "m", progress: undefined } },
      ...["VirtualMachine", "VirtualMachineInstance", "Node"].map((kind) => ({ $case: "event" as const, value: event(kind) })),
    ];
  }

  async function attached(tunnelId: string): Promise<void> {
    const requests = (async function* () {
      yield AttachRequest.create({ message: { $case: "open", value: { tunnelId } } });
    })();
    for await (const _ of thief.client.attach(requests)) return;
  }

  /** By the name of the call: what the thief sends in it with the victim's ids. */
  const replays: Record<string, (agentInstance: string) => Promise<unknown>[]> = {
    Claim: (agentInstance) => [1, 2, 99].map((epoch) => thief.client.claim({ ...place(), epoch, boot: BOOT, agentInstance })),
    Report: (agentInstance) => parts().flatMap((part) => [1, 2].map((epoch) => thief.client.report({ ...place(), agentInstance, seq: 50, epoch, part }))),
    Renew: () => [thief.client.renew({ sessionId: victim.welcome.sessionId })],
    Attach: () => [attached("0".repeat(32))],
  };
  /** What these answer has no secret of another's; the test after the replay says so. */
  const others = ["Session", "LookupMachine", "RenewCertificate"];

  const place = () => ({ namespace: "default", name: "web", vmiUid: instance.metadata!.uid });

  it("is refused every call of the agents' service with the ids of another node, and nothing is changed by it", async () => {
    const calls = methods.filter(({ parent }) => parent.typeName === "drover.agent.v1.NodeAgentService").map(({ name }) => name);
    assert.deepEqual(calls.sort(), [...Object.keys(replays), ...others].sort(), "a call that nobody has tried");
    const before = await server.records();
    for (const agentInstance of [thief.agent.instance, victim.agent.instance]) {
      for (const [name, replay] of Object.entries(replays)) {
        for (const attempt of replay(agentInstance)) assert.match(await end(attempt), /^PERMISSION_DENIED: It is not this node's/, name);
      }
    }
    assert.deepEqual(await server.records(), before);
  });

  it("is given of another's machine no spec and no secret, and no certificate but its own", async () => {
    const { vmUid, found } = { vmUid: instance.metadata!.ownerReferences[0]!.uid, found: instance.metadata!.uid };
    const seen = await end(thief.client.lookupMachine({ namespace: "default", vmName: "web", vmUid, vmiUid: found, volumes: [] }));
    assert.equal(seen.includes(SECRET), false);
    assert.doesNotMatch(seen, /"spec":\{|ownerReport":\{|sha256:/);
    await victim.client.renew({ sessionId: victim.welcome.sessionId });
    assert.deepEqual((await server.admin.nodes.getNode({ name: "victim" })).node!.status!.session!.sessionId, victim.welcome.sessionId);
  });

  it("is nobody on the users' listener, and finds no users' call on its own", async () => {
    const publicly = server.public(thief.files.agent);
    for (const attempt of [publicly.machines.listVirtualMachines(EVERYTHING), publicly.nodes.revokeNode({ ...ONCE, name: "victim" }), publicly.auth.whoAmI({})]) {
      assert.match(await end(attempt), /^UNAUTHENTICATED/);
    }
    const inside = server.open(server.addresses.agents, thief.files.agent).client(VirtualMachineServiceDefinition);
    assert.match(await end(inside.listVirtualMachines(EVERYTHING)), /^(UNIMPLEMENTED|PERMISSION_DENIED)/);
    assert.ok(methods.map(pathOf).includes("/drover.v1.VirtualMachineService/ListVirtualMachines"));
  });

  it("finds in QEMU's key, which a guest that broke out would have, less still; and QEMU takes no other certificate than QEMU's", async () => {
    const escaped = { ...thief.files.migration, ca: server.ca };
    assert.match(await end(server.agentClient(escaped).renew({ sessionId: "" })), /^(UNAUTHENTICATED|UNAVAILABLE)/);
    assert.match(await end(server.public(escaped).auth.whoAmI({})), /^UNAUTHENTICATED/);
    // QEMU asks only who signed: nobody but a QEMU may have a certificate of that authority.
    const signer = new X509Certificate(readFileSync(thief.files.migration.ca));
    const signed = (file: string) => new X509Certificate(readFileSync(file)).verify(signer.publicKey);
    assert.equal(signed(thief.files.migration.cert), true);
    const others = [thief.files.agent.cert, (await server.certificate("alice")).cert, join(server.pki, "controller.pem"), join(server.pki, "server.pem"), server.ca];
    assert.deepEqual(others.filter(signed), []);
  });

  it("loses all of it when its node is revoked, at once", async () => {
    await server.admin.nodes.revokeNode({ ...ONCE, name: "thief" });
    await assert.rejects(async () => { for (;;) await thief.agent.next(); }, (error: ClientError) => error.code === Status.UNAUTHENTICATED);
    assert.match(await end(thief.client.claim({ ...place(), epoch: 1, boot: BOOT, agentInstance: thief.agent.instance })), /^UNAUTHENTICATED/);
    await victim.client.renew({ sessionId: victim.welcome.sessionId });
  });
});
