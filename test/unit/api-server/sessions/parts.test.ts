import assert from "node:assert/strict";
import { AssignmentRole, AttachRequest, CommandResult } from "../../../../gen/drover/agent/v1/agent.ts";
import type { Hello, SessionResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { CloudInitNoCloud, VirtualMachineVolume } from "../../../../gen/drover/v1/machine.ts";
import type { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Channel } from "../../../../lib/channel.ts";
import { Aborted, NotFound, PermissionDenied, Unavailable } from "../../../../lib/errors.ts";
import { silentLog } from "../../../../lib/log.ts";
import { systemRandom } from "../../../../lib/random.ts";
import type { WatchEvent } from "../../../../api-server/objects.ts";
import { Assignments } from "../../../../api-server/sessions/assignments.ts";
import { Leases } from "../../../../api-server/sessions/leases.ts";
import { Outbox } from "../../../../api-server/sessions/outbox.ts";
import { ProgressPace } from "../../../../api-server/sessions/progress-pace.ts";
import { roleOf } from "../../../../api-server/sessions/roles.ts";
import { NodeSession } from "../../../../api-server/sessions/session.ts";
import { Tunnels } from "../../../../api-server/sessions/tunnels.ts";
import { instance } from "../subresources/records.ts";
import { ManualClock } from "./manual-clock.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const migration = (handedOff: boolean) => ({ migration: { uid: "m", sourceNode: "a", targetNode: "b", handedOff } });

describe("a node's role", () => {
  const cases: [string, VirtualMachineInstance, string, AssignmentRole | undefined][] = [
    ["the owner", instance(), "a", AssignmentRole.OWNER],
    ["a stranger", instance(), "b", undefined],
    ["a target", instance({ status: migration(false) }), "b", AssignmentRole.INCOMING],
    ["a source that still owns it", instance({ status: migration(false) }), "a", AssignmentRole.OWNER],
    ["a source that handed it over", instance({ status: { nodeName: "b", ...migration(true) } }), "a", AssignmentRole.OUTGOING],
    ["a target that took it over", instance({ status: { nodeName: "b", ...migration(true) } }), "b", AssignmentRole.OWNER],
  ];
  for (const [name, vmi, node, role] of cases) it(name, () => assert.equal(roleOf(vmi, node), role));
});

describe("leases", () => {
  const made = () => {
    const clock = new ManualClock();
    const expired: string[] = [];
    return { clock, expired, leases: new Leases({ clock, leaseMs: 15_000, expired: (node, session) => expired.push(`${node}/${session}`) }) };
  };

  it("run out once, after the last renewal", () => {
    const { clock, expired, leases } = made();
    leases.grant("a", "s1");
    clock.pass(10_000);
    assert.equal(leases.renew("a", "s1"), true);
    clock.pass(14_999);
    assert.deepEqual(expired, []);
    clock.pass(1);
    assert.deepEqual(expired, ["a/s1"]);
    assert.equal(leases.renew("a", "s1"), false);
    clock.pass(60_000);
    assert.equal(expired.length, 1);
  });

  it("go to the newest session", () => {
    const { clock, expired, leases } = made();
    leases.grant("a", "s1");
    clock.pass(14_000);
    leases.grant("a", "s2");
    assert.equal(leases.renew("a", "s1"), false);
    clock.pass(14_000);
    assert.deepEqual(expired, []);
  });
});

describe("the pace of progress", () => {
  it("records the first figures at once and then every ten seconds", () => {
    const clock = new ManualClock();
    const pace = new ProgressPace(clock);
    const due = [0, 1_000, 8_999, 1].map((ms) => {
      clock.pass(ms);
      return pace.due("m");
    });
    assert.deepEqual(due, [true, false, false, true]);
    assert.equal(pace.due("another"), true);
  });
});

type Message = NonNullable<SessionResponse["message"]>;

function heard(outbox: Outbox): Message[] {
  const messages: Message[] = [];
  void (async () => {
    for await (const message of outbox) messages.push(message);
  })().catch(() => undefined);
  return messages;
}

/** "owner web", "withdrawn", "synced" … */
function said(messages: Message[]): string[] {
  return messages.splice(0).map(({ $case, value }) => {
    if ($case === "assignment") return `${value.role} epoch ${value.instance?.status?.epoch}`;
    return $case === "withdrawn" ? `withdrawn ${value.vmiUid}` : $case;
  });
}

describe("an outbox", () => {
  it("sends only the newest about one thing, in the order of the first word", async () => {
    const outbox = new Outbox();
    const offer = (epoch: number): Message => ({ $case: "assignment", value: { instance: instance({ status: { epoch } }), role: 1 } });
    outbox.put("instance/1", offer(1));
    outbox.put("synced", { $case: "synced", value: {} });
    outbox.put("instance/1", offer(2));
    const messages = heard(outbox);
    await settled();
    assert.deepEqual(said(messages), ["1 epoch 2", "synced"]);
  });

  it("tells its reader why it ends", async () => {
    const outbox = new Outbox();
    const reading = outbox[Symbol.asyncIterator]().next();
    outbox.close(new Aborted("over"));
    await assert.rejects(reading, Aborted);
  });
});

describe("assignments", () => {
  const at = (version: string, vmi: VirtualMachineInstance) => ({ ...vmi, metadata: { ...vmi.metadata!, resourceVersion: version } });
  type Fed = WatchEvent<VirtualMachineInstance> | "broken";

  function fed() {
    const clock = new ManualClock();
    let feed = new Channel<Fed>(100);
    async function* watch(): AsyncGenerator<WatchEvent<VirtualMachineInstance>> {
      for await (const event of feed) {
        if (event === "broken") throw new Error("broken");
        yield event;
      }
    }
    const assignments = new Assignments({ watch, clock, random: systemRandom, log: silentLog });
    const stop = new AbortController();
    const running = assignments.run(stop.signal);
    const event = async (...events: Fed[]) => {
      for (const each of events) await feed.push(each);
      await settled();
    };
    const again = async () => {
      await feed.push("broken");
      await settled();
      feed = new Channel<Fed>(100);
      clock.pass(10_000);
      await settled();
    };
    const end = async () => {
      stop.abort();
      feed.close();
      await running;
    };
    return { assignments, event, again, end };
  }
  const put = (version: string, vmi: VirtualMachineInstance): Fed => ({ type: "modified", object: at(version, vmi), revision: version });
  const bookmark: Fed = { type: "bookmark", revision: "r.0" };
  const subscribe = (assignments: Assignments, node: string) => {
    const outbox = new Outbox();
    assignments.subscribe(node, outbox);
    return heard(outbox);
  };

  it("begin with everything, then Synced, then changes", async () => {
    const { assignments, event, end } = fed();
    const [a, b] = [subscribe(assignments, "a"), subscribe(assignments, "b")];
    await event(put("r.1", instance()));
    assert.deepEqual(said(a), [], "nothing before all is known");
    await event(bookmark);
    assert.deepEqual([said(a), said(b)], [["1 epoch 3", "synced"], ["synced"]]);
    await event(put("r.2", instance({ status: migration(false) })));
    assert.deepEqual([said(a), said(b)], [["1 epoch 3"], ["2 epoch 3"]]);
    await event(put("r.3", instance({ status: { nodeName: "b", epoch: 4, ...migration(true) } })));
    assert.deepEqual([said(a), said(b)], [["3 epoch 4"], ["1 epoch 4"]]);
    await event(put("r.4", instance({ status: { nodeName: "b", epoch: 4 } })));
    assert.deepEqual([said(a), said(b)], [["withdrawn vmi-1"], ["1 epoch 4"]]);
    await event({ type: "deleted", object: instance({ status: { nodeName: "b" } }), reason: "deleted", revision: "r.5" });
    assert.deepEqual([said(a), said(b)], [[], ["withdrawn vmi-1"]]);
    await end();
  });

  it("tell after a broken watch only what differs", async () => {
    const { assignments, event, again, end } = fed();
    const a = subscribe(assignments, "a");
    await event(put("r.1", instance()), bookmark);
    said(a);
    await again();
    await event(put("r.1", instance()), bookmark);
    assert.deepEqual(said(a), []);
    await again();
    await event(bookmark);
    assert.deepEqual(said(a), ["withdrawn vmi-1"]);
    await end();
  });

  it("give a source that handed over no secrets", async () => {
    const { assignments, event, end } = fed();
    const a = subscribe(assignments, "a");
    const value = CloudInitNoCloud.create({ userData: { value: "password", digest: "sha256:0" } });
    const volumes = [VirtualMachineVolume.create({ name: "seed", source: { $case: "cloudInitNoCloud", value } })];
    const vmi = instance({ status: migration(false) });
    await event(put("r.1", { ...vmi, spec: { ...vmi.spec!, volumes } }), bookmark);
    assert.match(JSON.stringify(a.splice(0)), /password/);
    await event(put("r.2", { ...vmi, spec: { ...vmi.spec!, volumes }, status: { ...vmi.status!, nodeName: "b", migration: { ...vmi.status!.migration!, handedOff: true } } }));
    const sent = JSON.stringify(a);
    assert.ok(sent.includes("sha256:0") && !sent.includes("password"), sent);
    await end();
  });
});

const session = () => new NodeSession({ incarnation: 1, id: "s", node: "a", hello: {} as Hello });

describe("commands", () => {
  const describe_ = { $case: "describeDomain" as const, value: { vmiUid: "vmi-1", domainUuid: "d" } };

  it("are answered by id, wait so long and no longer, and end with the session", async () => {
    const clock = new ManualClock();
    const to = session();
    const [first, late, cut] = ["1", "2", "3"].map((id) => to.command(id, describe_, { clock, timeoutMs: 3_000 }));
    to.answered(CommandResult.create({ commandId: "unknown" }));
    to.answered(CommandResult.create({ commandId: "1", error: "no" }));
    assert.equal((await first!).error, "no");
    const third = to.command("4", describe_, { clock, timeoutMs: 9_000 });
    clock.pass(3_000);
    await Promise.all([late, cut].map((each) => assert.rejects(each!, Unavailable)));
    to.close();
    await assert.rejects(third, Unavailable);
  });
});

describe("tunnels", () => {
  const offered = { vmiUid: "vmi-1", epoch: 3, kind: 1, follow: true, tailBytes: 10 } as const;

  async function opened() {
    const clock = new ManualClock();
    const tunnels = new Tunnels({ clock, random: systemRandom });
    const to = session();
    const messages = heard(to.outbox);
    const offer = tunnels.offer(to, offered);
    offer.catch(() => undefined);
    await settled();
    const message = messages[0]!;
    assert.equal(message.$case, "tunnelOffer");
    return { clock, tunnels, offer, id: message.$case === "tunnelOffer" ? message.value.tunnelId : "" };
  }
  const open = (tunnelId: string) => AttachRequest.create({ message: { $case: "open", value: { tunnelId } } });
  const bytes = (text: string) => AttachRequest.create({ message: { $case: "data", value: Buffer.from(text) } });
  const close = (reason: string) => AttachRequest.create({ message: { $case: "close", value: { reason, message: "" } } });
  const drain = async (stream: AsyncIterable<unknown>) => {
    for await (const _ of stream);
  };

  it("carry bytes and end as the agent says", async () => {
    for (const [reason, error] of [["END_OF_OUTPUT", undefined], ["INSTANCE_MOVED", Aborted], ["NOT_FOUND", NotFound], ["FAILED", Unavailable]] as const) {
      const { tunnels, offer, id } = await opened();
      const agent = (async function* () {
        yield* [open(id), bytes("one"), bytes("two"), close(reason)];
      })();
      const serving = drain(tunnels.attach("a", agent));
      const tunnel = await offer;
      let text = "";
      const reading = (async () => {
        for await (const data of tunnel.data) text += data.toString();
      })();
      await (error ? assert.rejects(reading, error) : reading);
      await serving;
      assert.equal(text, "onetwo");
    }
  });

  it("hold the agent back while nobody reads", async () => {
    const { tunnels, offer, id } = await opened();
    let sent = 0;
    const agent = (async function* () {
      yield open(id);
      for (; sent < 100; sent += 1) yield bytes("x");
    })();
    const serving = drain(tunnels.attach("a", agent));
    const tunnel = await offer;
    for (let i = 0; i < 20; i += 1) await settled();
    assert.ok(sent < 12, `${sent} messages were taken`);
    tunnel.end();
    await serving;
  });

  it("are open to their node only, once, and for five seconds", async () => {
    const { clock, tunnels, offer, id } = await opened();
    const other = (async function* () {
      yield open(id);
    })();
    await assert.rejects(drain(tunnels.attach("b", other)), PermissionDenied);
    clock.pass(5_000);
    await assert.rejects(offer, Unavailable);
  });
});
