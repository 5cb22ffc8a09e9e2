import assert from "node:assert/strict";
import * as fc from "fast-check";
import { MigrationPhase, MigrationReason } from "../../../../gen/drover/v1/migration.ts";
import { FACTS, next, phases } from "../../../../controller/migration/phases.ts";
import type { Fact } from "../../../../controller/migration/phases.ts";
import { hasEnded, ORDER } from "../../../../controller/migration/story.ts";
import type { KnownPhase } from "../../../../controller/migration/story.ts";

const ALL = ORDER as readonly KnownPhase[];
const ADMITTED: readonly KnownPhase[] = [MigrationPhase.PREPARING_TARGET, MigrationPhase.TARGET_READY, MigrationPhase.RUNNING];
const few = [...FACTS.map((fact) => [fact]), ...FACTS.flatMap((a, i) => FACTS.slice(i + 1).map((b) => [a, b])), []] as Fact[][];

/** Every phase with every set of up to two facts, and thousands of larger ones. */
function always(check: (phase: KnownPhase, facts: ReadonlySet<Fact>) => void): void {
  for (const phase of ALL) for (const facts of few) check(phase, new Set(facts));
  fc.assert(fc.property(fc.constantFrom(...ALL), fc.subarray([...FACTS]), (phase, facts) => check(phase, new Set(facts))), { numRuns: 5_000 });
}

describe("the table of a migration", () => {
  it("never undoes a handoff", () =>
    always((_, facts) => {
      const { to, move } = next(MigrationPhase.FINALIZING, facts);
      assert.ok(to === MigrationPhase.FINALIZING || to === MigrationPhase.SUCCEEDED);
      assert.ok(move === "nothing" || move === "close");
    }));

  it("lets no deadline end what the source has begun", () =>
    always((_, facts) => {
      const without = new Set([...facts].filter((fact) => fact !== "late"));
      assert.deepEqual(next(MigrationPhase.RUNNING, facts), next(MigrationPhase.RUNNING, without));
    }));

  it("hands off wherever the guest runs at the target", () =>
    always((phase, facts) => {
      if (!ADMITTED.includes(phase) || !facts.has("target-running") || facts.has("grant-gone")) return;
      assert.equal(next(phase, facts).move, "hand-off");
    }));

  it("takes a begun migration out of the record only on the source's last word", () =>
    always((_, facts) => {
      if (next(MigrationPhase.RUNNING, facts).move !== "revoke") return;
      const stayed = facts.has("source-stayed");
      const gone = (facts.has("source-left") || facts.has("source-ended")) && (facts.has("target-absent") || facts.has("target-fenced"));
      // In post-copy the source has given its guest away, and what is left of it there cannot run.
      const lost = gone || (facts.has("post-copy") && facts.has("target-fenced"));
      assert.ok(stayed || lost, [...facts].join(", "));
      assert.ok(!facts.has("target-running"));
    }));

  it("asks no source to abort once its guest has left it", () =>
    always((phase, facts) => {
      if (facts.has("post-copy") || facts.has("post-copy-broken")) assert.notEqual(next(phase, facts).move, "abort");
    }));

  it("fails for not converging only by the source's own word that it stayed", () =>
    always((phase, facts) => {
      const { reason } = next(phase, facts);
      if (reason === MigrationReason.NOT_CONVERGING) assert.ok(facts.has("gave-up") && facts.has("source-stayed") && !facts.has("cancelled"));
    }));

  it("speaks for a source only when that is fenced", () =>
    always((phase, facts) => {
      if (next(phase, facts).move === "testify") assert.ok(facts.has("source-fenced") && facts.has("issued"));
    }));

  it("admits only what nothing speaks against", () =>
    always((phase, facts) => {
      if (next(phase, facts).move !== "admit") return;
      for (const fact of ["cancelled", "stopping", "occupied", "not-running", "no-slot", "no-target", "instance-gone"] as const) assert.ok(!facts.has(fact));
    }));

  it("gives every failure a reason and moves nothing that has ended", () =>
    always((phase, facts) => {
      const step = next(phase, facts);
      if (hasEnded(phase)) assert.deepEqual(step, { move: "nothing", to: phase, reason: MigrationReason.UNSPECIFIED });
      else if (step.to === MigrationPhase.FAILED || step.to === MigrationPhase.CANCELLED) assert.notEqual(step.reason, MigrationReason.UNSPECIFIED);
    }));

  it("has a line for the case in which no fact holds", () => {
    for (const phase of ALL) assert.ok(phases[phase].some(({ when }) => when.length === 0), `phase ${phase}`);
  });
});
