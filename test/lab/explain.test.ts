/** `drover explain` names the step that holds a machine back; each step is broken in turn, for real. */
import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { ExplainVerdict } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** A guest that is emulated beside others takes its time to boot and to end. */
const WAIT = { timeoutMs: 60_000 };
const STEPS = ["request", "record", "controller", "agent", "libvirt"] as const;
type Step = (typeof STEPS)[number];
type Explanation = { heldAt: number; steps: { name: string; verdict: string; summary: string; details: string[] }[] };

describe("drover explain", () => {
  const fleet = withFleet({ hosts: ["a"] });

  const explained = async (name: string): Promise<Explanation> =>
    JSON.parse(await fleet().drover("-o", "json", "explain", "vm", name)) as Explanation;
  /** The same answer, for a wait that asks often. */
  const answered = (name: string) => fleet().api.machines.explainVirtualMachine({ namespace: "default", name });

  /** Held at this step with these words, and the table for people points at it. */
  async function assertHeld(name: string, step: Step, words: RegExp): Promise<void> {
    let last: Awaited<ReturnType<typeof answered>> | undefined;
    const holds = async () => {
      last = await answered(name);
      const held = last.steps[last.heldAt];
      return (held?.name === step && words.test(held.summary)) || undefined;
    };
    await waitFor(`${name} to be held at ${step} by ${words}`, holds, WAIT).catch((cause: unknown) => {
      throw new Error(`Explained as ${JSON.stringify(last, null, 1)}`, { cause });
    });
    assert.equal((await explained(name)).heldAt, STEPS.indexOf(step));
    const table = await fleet().drover("explain", "vm", name);
    assert.match(table, new RegExp(`^-> ${STEPS.indexOf(step) + 1} ${step} +HELD `, "m"));
    assert.match(table, new RegExp(`Held at step ${STEPS.indexOf(step) + 1}, ${step}: `));
    assert.match(table, words);
  }

  async function assertWell(name: string): Promise<void> {
    await waitFor(`nothing to hold ${name}`, async () => (await answered(name)).steps.every(({ verdict }) => verdict === ExplainVerdict.OK) || undefined, WAIT).catch(() => undefined);
    const { heldAt, steps } = await explained(name);
    assert.equal(heldAt, -1, JSON.stringify(steps, null, 1));
    assert.deepEqual(steps.map(({ verdict }) => verdict.toUpperCase()), STEPS.map(() => "OK"), JSON.stringify(steps, null, 1));
    assert.match(await fleet().drover("explain", "vm", name), /Nothing holds it back\./);
  }

  it("1 request: nobody started it, somebody stopped it, its run ended and its strategy begins no other", async () => {
    const machine = await Machine.apply(fleet(), "asked", { bare: true });
    await assertHeld("asked", "request", /CreateVirtualMachine by token\/lab: it is off until it is started/);
    await fleet().drover("start", "asked", "--wait");
    await assertWell("asked");
    await fleet().drover("stop", "asked", "--force", "--wait");
    await assertHeld("asked", "request", /StopVirtualMachine by token\/lab: it is off/);
    await machine.delete();

    const ended = await Machine.apply(fleet(), "ended", { runStrategy: "Once", kernelArguments: "offafter=1" });
    await assertHeld("ended", "request", /its run succeeded at \d{4}-.*run strategy Once begins no other until it is started/);
    await ended.delete();
  });

  it("2 record: another's instance has the name, and a deletion waits for a finalizer of somebody else", async () => {
    const machine = await Machine.apply(fleet(), "squatted", { bare: true });
    const { spec } = await machine.record();
    const { virtualMachineInstance: stranger } = await fleet().api.instances.createVirtualMachineInstance({
      virtualMachineInstance: VirtualMachineInstance.create({
        metadata: { name: "squatted" },
        spec: { ...spec!.template!.spec!, nodeSelector: { nowhere: "true" }, domain: { ...spec!.template!.spec!.domain!, firmware: { uuid: "" } } },
      }),
      requestId: "", validateOnly: false,
    });
    await fleet().drover("start", "squatted");
    await assertHeld("squatted", "record", new RegExp(`${stranger!.metadata!.uid} has the name "squatted" and belongs to nobody.*until it is deleted`));
    await fleet().drover("delete", "vmi", "squatted", "--wait");
    await assertWell("squatted");
    await fleet().drover("stop", "squatted", "--force", "--wait");

    const off = await machine.record();
    const finalizers = [...off.metadata!.finalizers, "example.com/backup"];
    const held = { ...off, metadata: { ...off.metadata!, finalizers } };
    await fleet().api.machines.updateVirtualMachineStatus({ virtualMachine: held });
    await fleet().drover("delete", "vm", "squatted");
    await assertHeld("squatted", "record", /deletion waits for example\.com\/backup, which Drover does not take off/);
    await waitFor("the machine to let go", async () => {
      const now = await machine.record();
      if (now.metadata!.finalizers.join() !== "example.com/backup") return undefined;
      await fleet().api.machines.updateVirtualMachineStatus({ virtualMachine: { ...now, metadata: { ...now.metadata!, finalizers: [] } } });
      return true;
    });
  });

  it("3 controller: it is away, and it finds no node", async () => {
    const machine = await Machine.apply(fleet(), "unserved", { bare: true });
    await fleet().controller.kill();
    await fleet().drover("start", "unserved");
    await assertHeld("unserved", "controller", /not acted on power generation 2 of \d{4}-.*drover-controller/);
    await fleet().controller.start();
    await assertWell("unserved");
    await fleet().controller.kill();
    await fleet().drover("stop", "unserved", "--force");
    await assertHeld("unserved", "controller", /power generation 3 .*the run shall end/);
    await fleet().controller.start();
    await machine.delete();

    const misfit = await Machine.apply(fleet(), "misfit", { bare: true, runStrategy: "Always", nodeSelector: { rack: "z" } });
    await assertHeld("misfit", "controller", /0\/1 nodes fit: 1 node lacks a required label/);
    await misfit.delete();
  });

  it("4 agent: it is killed, at once and after its lease", async () => {
    const machine = await Machine.apply(fleet(), "orphan", { bare: true, runStrategy: "Always" });
    await assertWell("orphan");
    await fleet().agent("a").kill();
    await assertHeld("orphan", "agent", /The agent of "a" (is not connected|did not answer|is silent)/);
    await assertHeld("orphan", "agent", /The agent of "a" is silent since \d{4}-/);
    const { steps } = await explained("orphan");
    assert.deepEqual([steps[2]!.verdict.toUpperCase(), steps[4]!.verdict.toUpperCase()], ["OK", "UNKNOWN"]);
    await fleet().agent("a").start();
    await fleet().nodeReady("a");
    await assertWell("orphan");

    fleet().agent("a").signal("SIGSTOP");
    try {
      await assertHeld("orphan", "agent", /silent since|did not answer/);
    } finally {
      fleet().agent("a").signal("SIGCONT");
    }
    await fleet().nodeReady("a");
    await assertWell("orphan");
    await machine.delete();
  });

  it("5 libvirt: it is killed, it hangs, it has the guest paused, it cannot start it", async () => {
    const machine = await Machine.apply(fleet(), "stuck", { bare: true, runStrategy: "Always" });
    await assertWell("stuck");
    const host = fleet().lab.host("a");
    await host.libvirtd.kill();
    await assertHeld("stuck", "libvirt", /libvirt on "a" (cannot be reached|did not answer)/);
    await host.libvirtd.start();
    await assertWell("stuck");

    host.libvirtd.stop();
    try {
      await assertHeld("stuck", "libvirt", /libvirt on "a" (cannot be reached|did not answer)/);
    } finally {
      host.libvirtd.cont();
    }
    await assertWell("stuck");

    await host.virsh("suspend", await machine.uuid());
    await assertHeld("stuck", "libvirt", /libvirt says paused \(user\)/);
    await host.virsh("resume", await machine.uuid());
    await assertWell("stuck");
    await machine.delete();
  });

  it("tells why a start failed, whether it is tried again or not", async () => {
    symlinkSync("/etc/hostname", join(fleet().lab.poolDirectory, "escaping.img"));
    for (const runStrategy of ["Manual", "Always"]) {
      const machine = await Machine.apply(fleet(), `broken-${runStrategy.toLowerCase()}`, { runStrategy, image: "escaping.img" });
      await fleet().drover("start", machine.name);
      await assertHeld(machine.name, runStrategy === "Manual" ? "request" : "controller", /escaping\.img/);
      await machine.delete();
    }
  });
});
