/** A node is drained on real hosts: the plan that was shown is what happens, with machines of every eviction strategy. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DrainItemState, DrainPhase } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { Machine } from "./machine.ts";
import type { MachineOptions } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const DRAIN_TIMEOUT_MS = 110_000;
/** Far from switchover: 128 MiB at this rate take half a minute. */
const SLOW_POLICY = `apiVersion: drover.dev/v1
kind: MigrationPolicy
metadata:
  name: slow
spec:
  selectors:
    virtualMachineInstanceSelector:
      pace: slow
  bandwidthPerMigration: 4Mi
`;

describe("a drain, handoff by handoff", () => {
  const fleet = withFleet({ hosts: ["a", "b", "c"] });

  before(async () => {
    const file = join(fleet().lab.directory, "slow.yaml");
    writeFileSync(file, SLOW_POLICY);
    await fleet().drover("apply", "-f", file);
  });

  /** All of them on one node, whatever the scheduler would rather have. */
  async function on(node: string, machines: Record<string, MachineOptions>): Promise<Machine[]> {
    const others = fleet().lab.hosts().filter((host) => host.name !== node && host.isOn()).map(({ name }) => name);
    await fleet().drover("node", "cordon", ...others);
    const made = await Promise.all(Object.entries(machines).map(([name, options]) => Machine.running(fleet(), name, options)));
    await fleet().drover("node", "uncordon", ...others);
    return made;
  }

  const nodeOf = async (name: string): Promise<Node> => (await fleet().api.nodes.getNode({ name })).node!;
  const itemOf = async (node: string, name: string) => (await nodeOf(node)).status?.drainProgress?.items.find((item) => item.name === name);

  const reached = (node: string, phase: DrainPhase) =>
    waitFor(`the drain of ${node} to be in phase ${phase}`, async () => (await nodeOf(node)).status?.drainProgress?.phase === phase || undefined, { timeoutMs: DRAIN_TIMEOUT_MS });

  const end = async (machines: readonly Machine[]): Promise<void> => void (await Promise.all(machines.map((machine) => machine.delete())));

  type Plan = { id: string; items: { name: string; action: string; targetNode: string }[] };
  const planned = async (...flags: string[]): Promise<Plan> => JSON.parse(await fleet().drover("-o", "json", "node", "drain", "a", "--dry-run", ...flags)) as Plan;

  it("does with machines of each strategy what its plan shows, and says what it waits for", async () => {
    const [live, either, pinned, kept, outside] = (await on("a", {
      live: { evictionStrategy: "LiveMigrate" },
      either: { evictionStrategy: "LiveMigrateIfPossible" },
      pinned: { evictionStrategy: "LiveMigrateIfPossible", cpuModel: "maximum", runStrategy: "RerunOnFailure" },
      kept: { evictionStrategy: "None" },
      outside: { evictionStrategy: "External" },
    })) as [Machine, Machine, Machine, Machine, Machine];
    const before = await live.tick(() => true);
    const plan = await planned();
    assert.deepEqual(Object.fromEntries(plan.items.map(({ name, action }) => [name, action])), {
      live: "Migrate", either: "Migrate", pinned: "Stop", kept: "Blocked", outside: "WaitExternal",
    });
    assert.equal((await nodeOf("a")).spec?.unschedulable ?? false, false, "a dry run does nothing");
    const pinnedRun = (await pinned.instance())!.metadata!.uid;

    const held = await fleet().refused("node", "drain", "a", "--yes", "--wait", "--timeout", "100s");
    assert.match(held.message, /waits for .*default\/kept: its eviction strategy None keeps it here/s);
    for (const { name, action, targetNode } of plan.items) {
      const machine = { live, either, pinned, kept, outside }[name]!;
      if (action === "Migrate") assert.equal(await machine.node(), targetNode, name);
      if (action === "Blocked" || action === "WaitExternal") assert.equal(await machine.node(), "a", name);
    }
    await live.assertUnharmed(before);
    const again = await pinned.until("it to run again elsewhere", (instance) => instance !== undefined && instance.metadata!.uid !== pinnedRun && instance.status?.nodeName !== "a" && instance.status?.reachedRunning === true);
    assert.notEqual(again.status!.nodeName, "", "its run strategy started it again");
    assert.match(await fleet().drover("get", "nodes"), /^a +Ready,SchedulingDisabled,DrainWaiting:3\/5/m);
    assert.match(await fleet().drover("explain", "vm", "kept"), /node a is being drained: its eviction strategy None keeps it here/);
    assert.match(await fleet().drover("get", "vmi", "outside", "-o", "yaml"), /type: EvacuationRequested/);

    // Somebody outside moves the one, and the operator allows to stop the other.
    await fleet().drover("migrate", "outside", "--to", "b", "--wait");
    assert.match(await fleet().drover("node", "drain", "a", "--yes", "--allow-stop", "kept", "--wait", "--timeout", "100s"), /node\/a drained/);
    assert.deepEqual(await fleet().activeDomains(fleet().lab.host("a")), [], "by libvirt's own word nothing runs there");
    await kept.until("it to run elsewhere", (instance) => instance?.status?.reachedRunning === true && instance.status.nodeName !== "a");
    assert.match(await fleet().drover("get", "nodes"), /^a +Ready,SchedulingDisabled,Drained /m);
    await fleet().drover("node", "uncordon", "a");
    await end([live, either, pinned, kept, outside]);
  });

  it("refuses a plan that is not that of now, and says what has changed", async () => {
    const [machine] = (await on("a", { web: { evictionStrategy: "LiveMigrate" } })) as [Machine];
    const { id } = await planned();
    await machine.delete();
    const refused = await fleet().api.nodes.drainNode({ name: "a", planId: id, allowStop: [], allowStopAll: false, requestId: "", validateOnly: false }).then(() => "nothing", (error: Error) => error.message);
    assert.match(refused, /default\/web is not on the node any more/);
  });

  it("lets what has begun go on when it is ended, and cancels the rest", async () => {
    const slow = { evictionStrategy: "LiveMigrate", labels: { pace: "slow" } };
    const machines = await on("a", { first: slow, second: slow, third: slow });
    await fleet().drover("node", "drain", "a", "--yes");
    await waitFor("two transfers to begin", async () => {
      const { migrations } = await fleet().api.migrations.listVirtualMachineInstanceMigrations({ namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" });
      return migrations.filter(({ status }) => status?.phase === MigrationPhase.RUNNING).length === 2 || undefined;
    }, { timeoutMs: DRAIN_TIMEOUT_MS });
    assert.match(await fleet().drover("node", "uncordon", "a"), /not begun and cancelled: default\/\w+; begun, and going on to the end: default\/\w+, default\/\w+/);
    await reached("a", DrainPhase.CANCELLED);
    const nodes = await Promise.all(machines.map((machine) => machine.node()));
    assert.equal(nodes.filter((node) => node === "a").length, 1, nodes.join());
    await end(machines);
  });

  it("finds another target when the planned one is lost, and says so", async () => {
    const [web] = (await on("a", { web: { evictionStrategy: "LiveMigrate", labels: { pace: "slow" } } })) as [Machine];
    const before = await web.tick(() => true);
    await fleet().drover("node", "drain", "a", "--yes");
    const item = await waitFor("the transfer to begin", async () => {
      const found = await itemOf("a", "web");
      return found?.state === DrainItemState.RUNNING && (await web.instance())?.status?.migration?.source ? found : undefined;
    }, { timeoutMs: DRAIN_TIMEOUT_MS });
    await fleet().lab.host(item.targetNode).powerOff();
    await reached("a", DrainPhase.COMPLETED);
    const [node, other] = [await web.node(), item.targetNode === "b" ? "c" : "b"];
    assert.equal(node, other);
    await web.assertUnharmed(before);
    const told = await fleet().drover("describe", "node", "a");
    assert.match(told, new RegExp(`DrainReplanned .*default/web moves to ${other} as node ${item.targetNode} cannot take it any more`));
    assert.match(told, new RegExp(`default/web +Migrate +${other} +Done +Moved`));
  });
});
