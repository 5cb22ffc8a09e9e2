/** The check before a move on two real hosts: it passes, it names what is broken, and what it forecasts comes about. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { NodeSpec } from "../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict, ForecastBasis } from "../../gen/drover/v1/preflight.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** On two cores that others use too, a first forecast knows nothing of this machine's speed. */
const FACTOR_FIRST = 6;
const FACTOR_LEARNT = 3;

type Told = { chosenNode: string; candidates: { node: string; verdict: string; checks: { name: string; verdict: string; reason: string; message: string }[] }[] };

describe("the check before a move", function () {
  this.timeout(180_000);
  const fleet = withFleet();
  let machine: Machine;
  let target: string;

  before(async () => {
    machine = await Machine.running(fleet(), "checked");
    target = (await machine.node()) === "a" ? "b" : "a";
  });

  const check = () => fleet().api.migrations.checkMigration({ namespace: "default", name: machine.name, targetNode: "", addedNodeSelector: {} });
  const against = async (name: string) => {
    const { candidates } = await check();
    const found = candidates.find(({ node }) => node === name)!.checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS);
    return found.map(({ verdict, reason }) => [verdict, reason]);
  };
  const isAgainst = (name: string, reason: CheckReason) =>
    waitFor(`the check to say ${reason} of ${name}`, async () => (await against(name)).some(([, found]) => found === reason) || undefined, { timeoutMs: 30_000 });
  const change = async (spec: Partial<NodeSpec>) => {
    const { node } = await fleet().api.nodes.getNode({ name: target });
    await fleet().api.nodes.updateNode({ node: { ...node!, metadata: { ...node!.metadata!, resourceVersion: "" }, spec: { ...node!.spec!, ...spec } }, updateMask: ["spec"], requestId: "", validateOnly: false });
  };
  const agentFile = () => join(fleet().lab.directory, "drover", `agent-${target}.yaml`);

  it("finds nothing against the other host, having asked both, and says so as text and as data", async () => {
    const answer = await check();
    assert.equal(answer.chosenNode, target);
    const other = answer.candidates.find(({ node }) => node === target)!;
    assert.deepEqual(other.checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS), []);
    assert.ok(["cpu", "reach", "authority", "disks"].every((name) => other.checks.some((found) => found.name === name)));
    assert.equal(other.forecast!.basis, ForecastBasis.MEASURED);
    assert.equal(other.forecast!.converges, true);
    const text = await fleet().drover("migrate", machine.name, "--check");
    assert.match(text, new RegExp(`checked can be moved to ${target}`));
    const told = JSON.parse(await fleet().drover("migrate", machine.name, "--check", "-o", "json")) as Told;
    assert.equal(told.candidates.find(({ node }) => node === target)!.verdict, "Pass");
  });

  it("says of a cordoned host that it is, and fails", async () => {
    await fleet().drover("node", "cordon", target);
    const { stdout, stderr } = await fleet().refused("migrate", machine.name, "--check", "--to", target);
    assert.match(stdout, /NodeCordoned: it is cordoned/);
    assert.match(stderr, /no node can take it/);
    assert.match((await fleet().refused("migrate", machine.name, "--to", target)).stderr, /TARGET_CORDONED|cordoned/i);
    await fleet().drover("node", "uncordon", target);
    assert.deepEqual(await against(target), []);
  });

  it("says of a host with too little memory how much there is", async () => {
    await change({ maxMemory: "64Mi" });
    assert.deepEqual(await against(target), [[CheckVerdict.BLOCK, CheckReason.MEMORY]]);
    assert.match((await check()).message, /1 too little free memory/);
    assert.match((await fleet().refused("migrate", machine.name, "--to", target)).stderr, /64 MiB|memory/);
    await change({ maxMemory: "" });
    assert.deepEqual(await against(target), []);
  });

  it("says of a host without the machine's pool that it lacks it", async () => {
    const before = readFileSync(agentFile(), "utf8");
    const config = parse(before) as { pools: { name: string }[] };
    writeFileSync(agentFile(), stringify({ ...config, pools: config.pools.filter(({ name }) => name !== "shared") }));
    await fleet().agent(target).restart();
    await isAgainst(target, CheckReason.POOL_MISSING);
    writeFileSync(agentFile(), before);
    await fleet().agent(target).restart();
    await waitFor("the pool to be back", async () => (await against(target)).length === 0 || undefined, { timeoutMs: 30_000 });
  });

  it("takes three seconds for a source that does not answer, and knows less", async () => {
    const source = await machine.node();
    fleet().agent(source).signal("SIGSTOP");
    try {
      const { checks, chosenNode, warnings } = await check();
      assert.equal(checks.find(({ name }) => name === "host-devices")!.reason, CheckReason.NOT_KNOWN);
      assert.equal(chosenNode, target);
      assert.ok(warnings.length > 0);
    } finally {
      fleet().agent(source).signal("SIGCONT");
    }
    await fleet().nodeReady(source);
  });

  it("says of a host whose agent is away that it is not connected", async () => {
    await fleet().agent(target).kill();
    await waitFor("the node to fall silent", async () => {
      const { node } = await fleet().api.nodes.getNode({ name: target });
      return node?.status?.session?.state === NodeSessionState.SILENT || undefined;
    }, { timeoutMs: 30_000 });
    assert.deepEqual(await against(target), [[CheckVerdict.BLOCK, CheckReason.NODE_NOT_CONNECTED]]);
    await fleet().agent(target).start();
    await fleet().nodeReady(target);
    await waitFor("nothing to be against it", async () => (await against(target)).length === 0 || undefined, { timeoutMs: 30_000 });
  });

  it("forecasts what comes, and comes closer as it learns", async () => {
    for (let move = 1; move <= 4; move += 1) {
      const { candidates, chosenNode, message } = await check();
      assert.notEqual(chosenNode, "", message);
      const forecast = candidates.find(({ node }) => node === chosenNode)!.forecast!;
      const { status } = await machine.migrationEnds(await machine.migrate({ to: chosenNode }));
      assert.equal(status?.phase, MigrationPhase.SUCCEEDED, status?.message);
      const { figures, forecastError, forecast: kept } = status!;
      assert.ok(figures && figures.totalMs > 0 && figures.bytes > 0 && kept, "the record has what came and what was forecast");
      assert.equal(forecastError!.durationMs, figures.totalMs - kept.durationMs);
      const factor = Math.max(figures.totalMs / forecast.durationMs, forecast.durationMs / figures.totalMs);
      const atMost = forecast.samples >= 3 ? FACTOR_LEARNT : FACTOR_FIRST;
      assert.ok(factor <= atMost, `move ${move}: ${forecast.durationMs} ms were forecast from ${forecast.samples} samples, ${figures.totalMs} ms came`);
    }
  });
});
