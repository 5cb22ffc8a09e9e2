import assert from "node:assert/strict";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { ExplainVerdict, PowerIntent, RunOutcome } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, MigrationMode, MigrationTimeoutAction, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { explain } from "../../../../api-server/subresources/explain.ts";
import type { Evidence } from "../../../../api-server/subresources/explain.ts";
import { instance, machine, node, NOW } from "./records.ts";

const domain = { exists: true, state: "running", reason: "booted", name: "default_web", epoch: 3, job: "none" };
const well: Evidence = {
  journal: [{ requestId: "local/r-1", bodyHash: "", rpc: "/drover.v1.VirtualMachineService/StartVirtualMachine", subject: "local", key: "k", before: "i.1", after: "i.2", atMs: 0 }],
  vm: machine(),
  instance: instance(),
  node: node("a"),
  events: [],
  domain,
};
const pending = { phase: Phase.PENDING, nodeName: "", claim: undefined, ownerReport: undefined };
const held = (finalizer: string) => {
  const vm = machine({ deleting: true });
  return { ...vm, metadata: { ...vm.metadata!, finalizers: ["drover.dev/instance", finalizer] } };
};
const fails = (type: string, message: string) => ({ conditions: [{ type, status: ConditionStatus.FALSE, message }] });

describe("explain", () => {
  const cases: [string, Partial<Evidence>, number, RegExp][] = [
    ["nobody started it", { vm: machine({ power: { intent: PowerIntent.STOP } }), instance: undefined }, 0, /off until it is started/],
    ["Manual, its guest shut down", { vm: machine({ status: { lastRun: { powerGeneration: 1, outcome: RunOutcome.SUCCEEDED, ended: NOW } } }), instance: undefined }, 0, /its run succeeded at 2026-01-01T00:00:00\.000Z, and run strategy Manual begins no other until it is started/],
    ["Manual, it could not be started", { vm: machine({ status: { lastRun: { powerGeneration: 1, outcome: RunOutcome.FAILED, message: "no such image" } } }), instance: undefined }, 0, /its run failed: no such image, and/],
    ["another's instance has its name", { instance: instance({ owned: false }) }, 1, /instance vmi-1 has the name "web" and belongs to nobody/],
    ["somebody's finalizer holds its deletion", { vm: held("example.com/backup"), instance: undefined }, 1, /example\.com\/backup/],
    ["the controller is away", { instance: undefined, vm: machine({ power: { since: NOW } }) }, 2, /not acted on power generation 1 of 2026-01-01T00:00:00\.000Z.*drover-controller/],
    ["the controller is away and the spec has changed", { vm: machine({ status: { observedGeneration: 0 } }) }, 2, /not seen generation 1: it stands at 0/],
    ["the controller has not begun to stop it", { vm: machine({ power: { intent: PowerIntent.STOP, generation: 2 } }) }, 2, /the run shall end/],
    ["back-off", { instance: undefined, vm: machine({ status: { startFailure: { consecutiveFailCount: 3 }, lastRun: { message: "no disk" } } }) }, 2, /after 3 that failed: no disk/],
    ["no node fits", { instance: instance({ status: { ...pending, ...fails("Scheduled", "0/2 nodes fit: 2 node is cordoned") } }) }, 2, /0\/2 nodes fit/],
    ["its volume is in use", { instance: instance({ status: { ...pending, ...fails("VolumesHeld", "held by default/db") } }) }, 2, /held by default\/db/],
    ["its node is silent", { node: node("a", { state: NodeSessionState.SILENT }), domain: undefined }, 3, /is silent/],
    ["its agent hangs", { domain: { failed: "agent", message: "The agent of \"a\" did not answer" } }, 3, /did not answer/],
    ["its agent has not claimed it", { instance: instance({ status: { phase: Phase.SCHEDULED, claim: undefined, ownerReport: undefined } }) }, 3, /has not claimed epoch 3/],
    ["it could not be started", { instance: instance({ status: { phase: Phase.SCHEDULED, ownerReport: { state: DomainState.START_FAILED, message: "no such image" } } }) }, 3, /no such image/],
    ["libvirt is away", { node: node("a", { report: { hypervisorConnected: false, hypervisorMessage: "refused" } }) }, 4, /cannot be reached: refused/],
    ["libvirt hangs", { domain: { failed: "libvirt", message: "no answer" } }, 4, /did not answer: no answer/],
    ["libvirt lost the domain", { domain: { ...domain, exists: false } }, 4, /no such domain/],
    ["libvirt has it paused, and its agent knows", { domain: { ...domain, state: "paused", reason: "ioerror" }, instance: instance({ status: { ownerReport: { state: DomainState.PAUSED, pausedReason: "io-error" } } }) }, 4, /paused \(ioerror\)/],
    ["libvirt has it paused", { domain: { ...domain, state: "paused", reason: "ioerror" } }, 4, /paused \(ioerror\)/],
  ];
  for (const [name, fields, heldAt, summary] of cases) {
    it(`${name}: held at step ${heldAt + 1}`, () => {
      const answer = explain({ ...well, ...fields });
      assert.equal(answer.heldAt, heldAt, JSON.stringify(answer.steps));
      assert.match(answer.steps[heldAt]!.summary, summary);
    });
  }

  it("asks an agent nothing about an instance that is not the machine's own", () => {
    const { steps } = explain({ ...well, vm: machine({ power: { intent: PowerIntent.STOP } }), instance: instance({ owned: false }) });
    assert.match(steps[3]!.summary, /No node has anything to do with it/);
  });

  it("waits with a machine that is being deleted for what is on its way", () => {
    const { heldAt } = explain({ ...well, vm: machine({ deleting: true }), instance: instance({ deleting: true }) });
    assert.equal(heldAt, -1);
    const { steps } = explain({ ...well, vm: held("example.com/backup"), instance: instance({ deleting: true }) });
    assert.equal(steps[1]!.verdict, ExplainVerdict.WAITING, "its run ends first");
    assert.equal(steps[3]!.verdict, ExplainVerdict.WAITING, "it is not as it shall be while it runs");
  });

  it("says each fact once, and blames the controller for nothing that it cannot do", () => {
    const { conditions } = fails("NodeReachable", "node a does not answer");
    const { steps } = explain({ ...well, vm: machine({ status: { conditions } }), instance: instance({ status: { conditions } }) });
    assert.equal(steps[2]!.details.length, 1);
    assert.equal(explain({ ...well, instance: instance({ owned: false }) }).steps[2]!.verdict, ExplainVerdict.WAITING);
  });

  it("says of an open migration how it converges, which policy says so and why, and what holds it", () => {
    const options = {
      policyName: "databases", why: 'policy "databases" names most labels: 1 of the machine, 0 of its namespace', bandwidthMibPerSecond: 64,
      completionTimeoutSeconds: 150, progressTimeoutSeconds: 40, maxDowntimeMs: 900, autoConverge: true, timeoutAction: MigrationTimeoutAction.PAUSE,
    };
    const open = { name: "web-1", sourceNode: "a", targetNode: "b", options };
    const details = (migration: object) => explain({ ...well, instance: instance({ status: { migration } }) }).steps[1]!.details.join("\n");
    const told = details(open);
    assert.match(told, /migration web-1 from a to b is open\n/);
    assert.match(told, /it converges by policy "databases" names most labels: 1 of the machine/);
    assert.match(told, /it may take 150 s, 40 s without progress, 64 MiB\/s, 900 ms of downtime, the guest slowed down; then: pause the guest/);
    assert.match(details({ ...open, source: { mode: MigrationMode.POST_COPY, standstill: { postCopyBroken: true, attempts: 3, message: "no way" } } }), /in post-copy.*\n.*\n.*\n.*attempt 3 to go on: no way/);
    assert.match(details({ ...open, source: { standstill: {} } }), /stands still at a until b has said that nothing of it is there/);
    assert.match(details({ ...open, source: { gaveUp: "it did not converge" } }), /has given up: it did not converge/);
  });

  it("takes no guest for held up that stands still because it moves", () => {
    const halved = { ...well, domain: { ...domain, state: "paused", reason: "postcopy" } };
    assert.equal(explain(halved).heldAt, 4);
    assert.equal(explain({ ...halved, instance: instance({ status: { migration: { name: "web-1" } } }) }).heldAt, -1);
  });

  it("finds nothing wrong with a machine that runs", () => {
    const { steps, heldAt } = explain(well);
    assert.equal(heldAt, -1);
    assert.deepEqual(steps.map(({ name }) => name), ["request", "record", "controller", "agent", "libvirt"]);
    assert.match(steps[0]!.details[0]!, /StartVirtualMachine by local .* request r-1, revision i\.2/);
  });
});
