import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import { PrintableStatus } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { LEASE_MS } from "./fleet.ts";
import type { Fleet } from "./fleet.ts";
import { REPOSITORY } from "./guest.ts";
import { Machine } from "./machine.ts";
import { waitFor, waitForLineIn } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const fence = (fleet: Fleet, node: string) => fleet.drover("node", "confirm-fenced", node, "--reason", "power was cut at the plug", "--yes-i-typed", node);

describe("who owns a machine when no handoff says so", () => {
  const fleet = withFleet();

  const silent = (node: string) =>
    waitFor(`node ${node} to be silent`, async () => {
      const { node: record } = await fleet().api.nodes.getNode({ name: node });
      return record!.status!.session!.state === NodeSessionState.SILENT || undefined;
    });
  const printable = (machine: Machine, status: PrintableStatus) =>
    waitFor(`${machine.name} to print ${status}`, async () => (await machine.record()).status?.printableStatus === status || undefined);

  it("runs a machine of a host that lost its power once, elsewhere, after a person confirmed it, with its disk", async () => {
    const machine = await Machine.running(fleet(), "survivor");
    const first = (await machine.instance())!;
    const [lost, other] = first.status!.nodeName === "a" ? ["a", "b"] : ["b", "a"];
    await machine.tick(({ count }) => count >= 3); // It has written to its disk.
    await fleet().lab.host(lost).powerOff();
    await silent(lost);
    await printable(machine, PrintableStatus.UNKNOWN);
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
    assert.equal((await machine.instance())!.metadata!.uid, first.metadata!.uid, "nothing is restarted before that");
    assert.match(await fleet().drover("explain", "vm", "survivor"), /silent|NodeSilent/i);

    await fence(fleet(), lost);
    const second = await machine.until("another run", (instance) => instance?.metadata!.uid !== first.metadata!.uid && instance?.status?.phase === Phase.RUNNING);
    assert.equal(second.status!.nodeName, other);
    assert.ok(second.status!.epoch > first.status!.epoch);
    await machine.tick(({ count }) => count >= 1);
    assert.match(await fleet().drover("logs", "survivor"), /disk previous=<drover-guest boot=/, "the disk has what the first run wrote");

    await fleet().lab.host(lost).powerOn();
    await fleet().agent(lost).start();
    await fleet().nodeReady(lost);
    assert.deepEqual(await fleet().hostsRunning(await machine.uuid()), [other]);
    assert.equal((await machine.instance())!.metadata!.uid, second.metadata!.uid);
    await machine.delete();
  });

  it("a host that was only cut off gives up its copy when it returns", async () => {
    const machine = await Machine.apply(fleet(), "copy", { runStrategy: "Always", bare: true });
    const first = await machine.phase(Phase.RUNNING);
    const [cut, other] = first.status!.nodeName === "a" ? ["a", "b"] : ["b", "a"];
    const uuid = await machine.uuid();
    await fleet().lab.host(cut).cutLink();
    try {
      await silent(cut);
      assert.deepEqual(await fleet().hostsRunning(uuid), [cut], "silence alone stops nothing");
      await fence(fleet(), cut);
      await machine.until("another run", (instance) => instance?.status?.nodeName === other && instance.status.phase === Phase.RUNNING);
    } finally {
      await fleet().lab.host(cut).restoreLink();
    }
    await fleet().nodeReady(cut);
    await waitFor("the copy to be given up", async () => (await fleet().hostsRunning(uuid)).join() === other || undefined);
    await machine.delete();
  });

  it("refuses a second agent with a node's identity, and the first goes on", async () => {
    const config = parse(readFileSync(join(fleet().lab.directory, "drover/agent-a.yaml"), "utf8")) as Record<string, unknown>;
    const host = fleet().lab.host("b");
    const file = join(fleet().lab.directory, "drover/impostor.yaml");
    const stolen = join(fleet().lab.host("a").localDirectory, "drover/pki");
    cpSync(stolen, join(host.localDirectory, "impostor/pki"), { recursive: true, dereference: true });
    writeFileSync(file, stringify({ ...config, stateDirectory: join(host.localMount, "impostor") }));
    const logFile = fleet().logOf("impostor");
    const impostor = await host.spawn(process.execPath, [join(REPOSITORY, "node-agent/main.ts"), "--config", file], { logFile });
    try {
      await waitForLineIn(logFile, /NODE_IDENTITY_IN_USE|NODE_UID_MISMATCH/);
      const { node } = await fleet().api.nodes.getNode({ name: "a" });
      assert.equal(node!.status!.session!.state, NodeSessionState.CONNECTED);
      assert.equal(node!.status!.report!.hostname, "a");
    } finally {
      impostor.kill();
    }
  });

  it("keeps a write that it acknowledged over kill -9, and its retry acts once", async () => {
    await Machine.apply(fleet(), "kept");
    const start = { namespace: "default", name: "kept", requestId: "retry-me", validateOnly: false };
    const first = (await fleet().api.machines.startVirtualMachine(start)).virtualMachine!;
    await fleet().restartApiServer();
    const again = (await fleet().api.machines.startVirtualMachine(start)).virtualMachine!;
    assert.equal(again.status!.power!.generation, first.status!.power!.generation);
    assert.equal(again.metadata!.resourceVersion, first.metadata!.resourceVersion, "the first answer again");
    await assert.rejects(fleet().api.machines.stopVirtualMachine({ ...start, force: false }), /request_id/);
    await fleet().drover("stop", "kept", "--force", "--wait");
    await fleet().drover("delete", "vm", "kept", "--wait");
  });

  it("resumes a watch over kill -9 without a gap and without a repeat", async () => {
    const machine = await Machine.apply(fleet(), "watched");
    const { revision: from } = await fleet().api.machines.listVirtualMachines({ namespace: "default", pageSize: 10, pageToken: "", labelSelector: "", fieldSelector: "" });
    const seen: string[] = [];
    let at = from;
    const stop = new AbortController();
    const watching = (async () => {
      while (!stop.signal.aborted) {
        try {
          for await (const { event, revision } of fleet().api.machines.watchVirtualMachines({ namespace: "default", fromRevision: at, labelSelector: "", fieldSelector: "" }, { signal: stop.signal })) {
            if (event?.$case === "modified") seen.push(event.value.metadata!.labels["step"] ?? "");
            at = revision;
          }
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    })();
    const steps = Array.from({ length: 20 }, (_, index) => String(index));
    for (const step of steps) {
      if (step === "10") await fleet().restartApiServer();
      const record = await machine.record();
      await fleet().api.machines.updateVirtualMachine({
        virtualMachine: { ...record, metadata: { ...record.metadata!, resourceVersion: "", labels: { step } } }, updateMask: ["metadata.labels"], requestId: "", validateOnly: false,
      });
    }
    const labelled = () => seen.filter((step) => step !== "");
    await waitFor("every step to be seen", () => labelled().at(-1) === "19" || undefined);
    stop.abort();
    await watching;
    assert.deepEqual([...new Set(labelled())], steps, "in order, none missing");
    await fleet().drover("delete", "vm", "watched", "--wait");
  });
});
