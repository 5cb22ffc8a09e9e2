import assert from "node:assert/strict";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { PowerIntent, RunOutcome } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { explain } from "../../../../api-server/subresources/explain.ts";
import type { Evidence } from "../../../../api-server/subresources/explain.ts";
import { instance, machine, node } from "./records.ts";

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
const fails = (type: string, message: string) => ({ conditions: [{ type, status: ConditionStatus.FALSE, message }] });

describe("explain", () => {
  const cases: [string, Partial<Evidence>, number, RegExp][] = [
    ["nobody started it", { vm: machine({ power: { intent: PowerIntent.STOP } }), instance: undefined }, 0, /nobody has asked/],
    ["Manual, its guest shut down", { vm: machine({ status: { lastRun: { powerGeneration: 1, outcome: RunOutcome.SUCCEEDED } } }), instance: undefined }, 0, /its run has ended/],
    ["the controller is away", { instance: undefined }, 2, /not acted on power generation 1/],
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
    ["libvirt has it paused", { domain: { ...domain, state: "paused", reason: "ioerror" } }, 4, /paused \(ioerror\)/],
  ];
  for (const [name, fields, heldAt, summary] of cases) {
    it(`${name}: held at step ${heldAt + 1}`, () => {
      const answer = explain({ ...well, ...fields });
      assert.equal(answer.heldAt, heldAt, JSON.stringify(answer.steps));
      assert.match(answer.steps[heldAt]!.summary, summary);
    });
  }

  it("finds nothing wrong with a machine that runs", () => {
    const { steps, heldAt } = explain(well);
    assert.equal(heldAt, -1);
    assert.deepEqual(steps.map(({ name }) => name), ["request", "record", "controller", "agent", "libvirt"]);
    assert.match(steps[0]!.details[0]!, /StartVirtualMachine by local .* request r-1, revision i\.2/);
  });
});
