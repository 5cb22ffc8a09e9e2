/** Every rule of ownership by grants is needed, and together they are enough: without one of them the walk finds a double run. */
import assert from "node:assert/strict";
import { explore } from "./explore.ts";
import { ownership } from "./ownership.ts";
import type { Rules } from "./ownership.ts";

/** Faults that a story does not need are left out, so that the shortest one is found soon. */
const CALM = { hangs: false, drift: 0, restart: "none" } as const satisfies Partial<Rules>;

const enough: Record<string, { rules: Partial<Rules>; states: number }> = {
  "with drift, hangs, and a store that restarts": { rules: {}, states: 300_000 },
  "with an old backup restored, of which only new sessions are believed": { rules: { ...CALM, horizon: 11, restore: "new-sessions" }, states: 200_000 },
};

const needed: Record<string, Partial<Rules>> = {
  "the new owner waits a tick too little": { grace: 1 },
  "a deadline counts from the reply": { ...CALM, horizon: 6, drift: 1, deadlineFrom: "reply" },
  "no watchdog resets a host that hangs": { restart: "none", watchdog: false },
  "a start is obeyed without a claim": { ...CALM, horizon: 6, claims: false },
  "a store that restarts forgets the grants": { ...CALM, horizon: 6, drift: 1, restart: "forgets" },
  "a restored backup is trusted": { ...CALM, horizon: 7, restore: "backup" },
  "a restored store believes whoever renews": { ...CALM, horizon: 6, restore: "whoever-renews" },
};

describe("the model of ownership by grants", function () {
  this.timeout(60_000);

  for (const [title, { rules, states }] of Object.entries(enough)) {
    it(`never runs a machine twice ${title}`, () => {
      const walk = explore(ownership(rules));
      assert.equal(walk.fault, undefined, walk.story?.join("\n"));
      assert.ok(walk.states >= states, `only ${walk.states} states were walked: the model has shrunk`);
    });
  }

  for (const [title, rules] of Object.entries(needed)) {
    it(`runs it twice when ${title}`, () => {
      const { fault, story } = explore(ownership(rules));
      assert.match(fault ?? "nothing was found", /runs on both hosts/);
      assert.ok(story!.length >= 6, "a story so short is none of this fault");
    });
  }
});
