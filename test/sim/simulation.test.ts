/** The simulation's own promises; its seeds are run by `npm run sim`. */
import assert from "node:assert/strict";
import { ALL_CELLS, ALL_FAILPOINTS, nameOf } from "./plan/cells.ts";
import { END_MS, planOf } from "./plan/plan.ts";
import type { Plan } from "./plan/plan.ts";
import { shrink } from "./run/shrink.ts";
import { Worker } from "./run/pool.ts";
import { simulate } from "./simulate.ts";
import type { Result } from "./simulate.ts";

describe("the simulation", () => {
  it("lives the same life twice for one seed, and another one for another", async () => {
    const [first, second, other] = [await simulate(planOf(3)), await simulate(planOf(3)), await simulate(planOf(4))];
    assert.equal(first.traceHash, second.traceHash);
    assert.notEqual(first.traceHash, other.traceHash);
    assert.equal(first.broken, undefined, JSON.stringify(first.broken));
  }).timeout(120_000);

  it("leaves out of a failing plan whatever its failure does not need", async () => {
    const plan = planOf(5);
    const needed = [plan.steps[3], plan.steps.at(-2)];
    const lives = async ({ steps }: Plan): Promise<Result> => {
      const broken = needed.every((step) => steps.includes(step!)) ? { invariant: "I1", message: "it ran twice", atMs: 1 } : undefined;
      return { seed: 5, traceHash: "", events: 0, lines: [], cells: {}, failpoints: {}, answers: {}, migrations: {}, ...(broken && { broken }) };
    };
    const { plan: small, result } = await shrink(plan, "I1", lives);
    assert.deepEqual(small.steps, needed);
    assert.equal(result.broken?.message, "it ran twice");
  });

  it("tells of a broken rule in a few steps", async () => {
    using worker = new Worker("deadline-from-reply");
    const { broken } = await worker.seed(6);
    assert.equal(broken?.invariant, "LEADERSHIP", JSON.stringify(broken));
    const { steps, lines, message } = await worker.shrink(6, "LEADERSHIP");
    assert.ok(steps.length <= 4, steps.join("\n"));
    assert.ok(lines.length > 0);
    assert.match(message, /still leads/);
  }).timeout(300_000);

  it("has at least six machines, four migrations and five faults in each seed, over five minutes", () => {
    assert.ok(END_MS >= 300_000);
    for (let seed = 1; seed <= 200; seed += 1) {
      const { machines, steps } = planOf(seed);
      assert.ok(machines.length >= 6);
      assert.ok(steps.filter((step) => step.act === "verb" && step.verb.verb === "migrate").length >= 4);
      assert.ok(steps.filter(({ act }) => act === "fault").length >= 5);
    }
  });

  it("aims at each cell of phase, party and harm and at each failpoint, again and again", () => {
    const aims = new Map<string, number>();
    for (let seed = 1; seed <= 300; seed += 1) {
      for (const step of planOf(seed).steps) {
        if (step.act !== "fault") continue;
        const { fault, when } = step;
        if (fault.party === "failpoint") count(aims, fault.point);
        else if (!("atMs" in when)) count(aims, nameOf({ phase: when.phase, party: fault.party, harm: fault.harm }));
      }
    }
    const seldom = [...ALL_CELLS.map(nameOf), ...ALL_FAILPOINTS.map(({ point }) => point)].filter((name) => (aims.get(name) ?? 0) < 4);
    assert.deepEqual(seldom, []);
  });
});

const count = (counts: Map<string, number>, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
