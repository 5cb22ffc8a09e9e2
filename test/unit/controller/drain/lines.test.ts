/** The table of a drain, line by line and under any set of facts. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { DrainAction, DrainItemState } from "../../../../gen/drover/v1/node.ts";
import { retryAfterMs } from "../../../../controller/drain/facts.ts";
import { FACTS, lines, next } from "../../../../controller/drain/lines.ts";
import type { Fact, Step } from "../../../../controller/drain/lines.ts";

const ACTIONS = Object.keys(lines).map(Number) as DrainAction[];
const facts = fc.subarray([...FACTS]).map((held) => new Set<Fact>(held));
const action = fc.constantFrom(...ACTIONS);
const step = (planned: DrainAction, held: ReadonlySet<Fact>): Step => next(planned, (fact) => held.has(fact))!;

function always(says: (planned: DrainAction, held: ReadonlySet<Fact>, step: Step) => void): void {
  fc.assert(fc.property(action, facts, (planned, held) => says(planned, held, step(planned, held))), { numRuns: 20_000 });
}

describe("the lines of a drain", () => {
  it("are each the answer to some facts", () => {
    for (const planned of ACTIONS) {
      for (const line of lines[planned as keyof typeof lines]) {
        const found = step(planned, new Set<Fact>(line.when));
        assert.equal(found.to, line.to, `${planned}: ${line.when.join(", ")}`);
      }
    }
  });

  it("stop a machine only where that was planned, of a node that answers, and never after the drain was ended", () => {
    always((planned, held, { move }) => {
      if (move !== "stop") return;
      assert.equal(planned, DrainAction.STOP);
      for (const fact of ["gone", "ended", "silent", "moving", "arriving", "ending"] as const) assert.ok(!held.has(fact), fact);
    });
  });

  it("begin nothing once the drain was ended, and end no migration whose source has begun", () => {
    always((_, held, { move }) => {
      if (held.has("ended")) assert.ok(move === "nothing" || move === "cancel", move);
      if (move === "cancel") assert.ok(held.has("ended") && held.has("own") && !held.has("begun"));
    });
  });

  it("move nothing that moves already, is not running, or has nowhere to go", () => {
    always((_, held, { move }) => {
      if (move !== "migrate") return;
      for (const fact of ["moving", "ending", "silent", "not-running", "paused", "not-migratable", "keeps", "cancelled", "target-lost"] as const) assert.ok(!held.has(fact), fact);
    });
  });

  it("say of a machine that it has left only when nothing of it is there, and of every other that it has not", () => {
    always((_, held, { to }) => assert.equal(to === DrainItemState.DONE, held.has("gone")));
  });

  it("leave what a newer version planned alone", () => {
    for (const planned of [DrainAction.UNSPECIFIED, DrainAction.UNRECOGNIZED, 99 as DrainAction]) assert.equal(next(planned, () => false), undefined);
  });
});

describe("the wait before another attempt", () => {
  it("doubles from 20 s, up to 5 minutes", () => {
    assert.deepEqual([1, 2, 3, 4, 5, 50].map((attempts) => retryAfterMs(attempts) / 1_000), [20, 40, 80, 160, 300, 300]);
  });
});
