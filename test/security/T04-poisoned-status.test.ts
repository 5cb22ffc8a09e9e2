/** T4: an agent that reports what is huge, or made for a terminal, a page or a parser, instead of what is. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { Event, EventType } from "../../gen/drover/v1/event.ts";
import { Node } from "../../gen/drover/v1/node.ts";
import { DomainState, MigrationSourceReport, OwnerReport, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { unsafeIn } from "./unsafe.ts";
import { nodeReportOf, nodeOf, reportOf, runningOn, startInstalled } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const KIB = 1024;
const ESC = "\u001B";
const EVIL = [`${ESC}[2J${ESC}]0;owned\u0007`, "\u009B31m", "line\r\nline", "\u202Egnp.exe", "<script>alert(1)</script>", "'; DROP TABLE objects; --", "\u0000", "\uD800", "a".repeat(100 * KIB)];

describe("T4: a status that an agent has poisoned", function () {
  this.timeout(60_000);
  let server: Installed;
  let host: Host;
  let instance: VirtualMachineInstance;
  let seq = 10;
  before(async () => {
    server = await startInstalled();
    host = await server.host("liar");
    ({ instance } = await runningOn(server, host));
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: ClientError) => Status[error.code]!);
  const recordedInstance = async () => (await server.admin.instances.getVirtualMachineInstance({ namespace: "default", name: "web" })).virtualMachineInstance!;

  async function poison(text: string): Promise<void> {
    seq += 1;
    const list = Array.from({ length: 2_000 }, (_, index) => `${text.slice(0, 20)}${index}`);
    const report = { hostname: text, kvmMessage: text, migrationBlocker: text, machineTypes: list, bridges: list, foreignDomains: list, machineAliases: { [text.slice(0, 200)]: text }, pools: [{ name: text, id: text, capacityBytes: 1, availableBytes: 1, error: text, path: text }] };
    await end(host.client.report(nodeReportOf(host.agent, report, seq)));
    await end(host.client.report(reportOf(host.agent, instance, { $case: "owner", value: OwnerReport.create({ generation: seq, state: DomainState.PAUSED, reason: text, message: text, pausedReason: text }) }, seq)));
    await end(host.client.report(reportOf(host.agent, instance, { $case: "migrationSource", value: { migrationUid: text, report: MigrationSourceReport.create({ message: text }) } }, seq)));
    const event = Event.create({ regarding: { kind: "VirtualMachine", name: "web", namespace: "default" }, reason: text, message: text, type: EventType.WARNING });
    await end(host.client.report(reportOf(host.agent, instance, { $case: "event", value: event }, seq)));
  }

  /** What is kept of it. */
  async function assertHarmless(): Promise<void> {
    const [node, vmi] = [await nodeOf(server, "liar"), await recordedInstance()];
    assert.ok(Node.encode(node).finish().length < 256 * KIB, "the node's record stays small");
    assert.ok(VirtualMachineInstance.encode(vmi).finish().length < 64 * KIB, "the instance's record stays small");
    const shown = JSON.stringify([node.status!.report, vmi.status!.ownerReport], (_, value: unknown) => (typeof value === "string" && unsafeIn(value) !== "" ? assert.fail(JSON.stringify(value.slice(0, 100))) : value));
    assert.ok(shown.length > 0);
  }

  it("is cut, and no command shows it raw", async () => {
    for (const text of [...EVIL, EVIL.slice(0, -1).join(" ")]) {
      await poison(text);
      await assertHarmless();
    }
    const commands = [["get", "nodes", "-o", "wide"], ["describe", "node", "liar"], ["get", "vmi", "-o", "yaml"], ["events"], ["describe", "vmi", "web"]];
    for (const [index, { code, out, errors }] of (await Promise.all(commands.map((args) => server.drover(args)))).entries()) {
      assert.equal(unsafeIn(out + errors), "", commands[index]!.join(" "));
      assert.equal(code, 0, errors);
    }
  });

  it("of whatever text neither ends the server nor grows a record", async () => {
    await fc.assert(fc.asyncProperty(fc.string({ unit: "binary", maxLength: 400 }), async (text) => {
      await poison(text);
      await assertHarmless();
    }), { numRuns: 20 });
    assert.ok(server.program.isAlive());
  });

  it("is no word on other objects: names in it are not followed", async () => {
    const { instance: other } = await runningOn(server, await server.host("honest"), { name: "other" });
    const before = await server.admin.instances.getVirtualMachineInstance({ namespace: "default", name: "other" });
    seq += 1;
    const value = OwnerReport.create({ generation: seq, state: DomainState.GONE, nodeName: "honest", message: other.metadata!.uid });
    await end(host.client.report(reportOf(host.agent, instance, { $case: "owner", value }, seq)));
    assert.deepEqual(await server.admin.instances.getVirtualMachineInstance({ namespace: "default", name: "other" }), before);
    assert.equal((await recordedInstance()).status!.ownerReport!.nodeName, "liar", "the certificate's, not the body's");
  });

  it("of more than a message may have is refused", async () => {
    const value = OwnerReport.create({ generation: 1_000, state: DomainState.RUNNING, message: "a".repeat(5 * KIB * KIB) });
    assert.equal(await end(host.client.report(reportOf(host.agent, instance, { $case: "owner", value }, 1_000))), "RESOURCE_EXHAUSTED");
    assert.ok(server.program.isAlive());
  });
});
