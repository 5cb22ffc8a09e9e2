/** When a fenced run's tombstone may go: on its host's word, twice, or when the host can no longer come back under the name. */
import assert from "node:assert/strict";
import { DomainDescription } from "../../../../gen/drover/agent/v1/agent.ts";
import { Node } from "../../../../gen/drover/v1/node.ts";
import { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Agent, joined, serve } from "./serving.ts";

const HOST = "0b5e6d1e-0000-4000-8000-000000000001";
const OTHER_HOST = "0b5e6d1e-0000-4000-8000-000000000002";
const UID = "run-1";
const ABSENT: Partial<DomainDescription> = { exists: false };

type Server = Awaited<ReturnType<typeof serve>>;

/** A run of epoch 3 on node "a" that a fence gave up. */
const buried = (server: Server, uid = UID, uuid = "5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f") => server.tombstones.put(
  VirtualMachineInstance.create({ metadata: { name: "web", namespace: "default", uid }, spec: { domain: { firmware: { uuid } } }, status: { nodeName: "a", epoch: 3 } }),
  Node.create({ status: { session: { nodeUid: HOST } } }),
);

const tidy = ({ tombstones, objects, sessions }: Server) => tombstones.tidy({ objects, sessions }, new AbortController().signal);

/** One tidying, at which the agent is asked once and says this. */
async function told(server: Server, agent: Agent, domain: Partial<DomainDescription>, error = ""): Promise<boolean> {
  const done = tidy(server);
  const { commandId, action } = await agent.hear("command");
  assert.ok(action?.$case === "describeDomain" && action.value.vmiUid === UID);
  agent.answer(commandId, DomainDescription.create(domain), error);
  await done;
  return server.tombstones.has(UID);
}

async function returned(server: Server, nodeUid?: string): Promise<Agent> {
  const agent = new Agent(await server.node("a"), nodeUid === undefined ? {} : { nodeUid });
  await agent.hear("welcome");
  await agent.hear("synced");
  return agent;
}

describe("a tombstone", () => {
  it("goes when its host has said twice that it has no such domain", async () => {
    await using server = await serve();
    await buried(server);
    const agent = await returned(server);
    assert.equal(await told(server, agent, ABSENT), true);
    assert.equal(await told(server, agent, ABSENT), false);
    await tidy(server);
  });

  it("stays while the domain is there, while libvirt does not answer, and begins to count anew after that", async () => {
    await using server = await serve();
    await buried(server);
    const agent = await returned(server);
    assert.equal(await told(server, agent, ABSENT), true);
    assert.equal(await told(server, agent, { exists: true, epoch: 3 }), true);
    assert.equal(await told(server, agent, ABSENT), true);
    assert.equal(await told(server, agent, {}, "libvirt cannot be reached"), true);
    assert.equal(await told(server, agent, ABSENT), true);
    assert.equal(await told(server, agent, { exists: true, epoch: 4 }), false, "a later run has the machine's UUID");
  });

  it("stays while its host is away, also without a record, and an agent that does not answer is asked once a round", async () => {
    await using server = await serve();
    await buried(server);
    await buried(server, "run-2");
    for (let round = 0; round < 3; round += 1) await tidy(server);
    assert.ok(await server.tombstones.has(UID));
    const agent = await returned(server);
    const round = tidy(server);
    await agent.hear("command");
    server.clock.pass(3_000);
    await round;
    assert.ok((await server.tombstones.has(UID)) && (await server.tombstones.has("run-2")));
    await server.store.commit({ key: "nodes/a", expected: (await server.store.get("nodes/a"))!.revision, value: null });
    agent.leave();
    for (let again = 0; again < 3; again += 1) await tidy(server);
    assert.ok(await server.tombstones.has(UID));
  });

  it("goes when another host has the node's name", async () => {
    await using server = await serve();
    await buried(server);
    await returned(server, OTHER_HOST);
    await tidy(server);
    assert.equal(await server.tombstones.has(UID), false);
  });

  it("does not grow in number with the machines that are lost and come back", async () => {
    await using server = await serve();
    const { agent } = await joined(server, "a");
    await agent.hear("synced");
    for (let n = 0; n < 30; n += 1) await buried(server, `run-${n}`);
    const answering = (async () => {
      for (let n = 0; n < 60; n += 1) agent.answer((await agent.hear("command")).commandId, DomainDescription.create(ABSENT));
    })();
    await tidy(server);
    await tidy(server);
    await answering;
    assert.deepEqual((await server.store.list("tombstones/")).items, []);
  });
});
