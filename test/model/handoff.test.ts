/** The handoff as it is holds in every order of events that the model has, and fails when one of its rules is taken away. */
import assert from "node:assert/strict";
import { explore } from "./explore.ts";
import { handoff } from "./handoff/model.ts";
import { withMutant } from "./handoff/mutants.ts";
import type { Mutant } from "./handoff/mutants.ts";
import type { Beginning } from "./handoff/state.ts";

const ONE_FAULT: Beginning = { begins: "running", lags: false, faults: 1, migrations: 1, cancels: 0 };
const CALM: Beginning = { ...ONE_FAULT, faults: 0 };

const holds: Record<string, { beginning: Beginning; states: number }> = {
  "with any one fault at any moment": { beginning: ONE_FAULT, states: 35_000 },
  "with agents that act on records that have changed": { beginning: { ...CALM, lags: true, cancels: 1 }, states: 25_000 },
  "with a first start and any one fault": { beginning: { ...ONE_FAULT, begins: "bound", migrations: 0 }, states: 300 },
  "with a way back to a host that was not tidied up": { beginning: { ...CALM, begins: "moved" }, states: 350 },
};

const needed: Record<Mutant, { beginning: Beginning; shows: RegExp }> = {
  "epoch check removed": { beginning: { ...CALM, begins: "moved" }, shows: /never ran/ },
  "revoke without burning an epoch": { beginning: ONE_FAULT, shows: /left on b for good/ },
  "deadline after ISSUED": { beginning: ONE_FAULT, shows: /two guests run|only copy of the guest/ },
  "domain not found at the source is an order": { beginning: ONE_FAULT, shows: /nobody had asked for that|is over, and its guest runs/ },
  "handoff on LEFT without RUNNING": { beginning: ONE_FAULT, shows: /never ran/ },
  "kill while a migration is open": { beginning: ONE_FAULT, shows: /only copy of the guest/ },
  "claim skipped": { beginning: { ...ONE_FAULT, begins: "bound", migrations: 0, lags: true }, shows: /two guests run|its guest does not run/ },
  "volume holder skipped": { beginning: CALM, shows: /two guests run/ },
};

describe("the model of a handoff", function () {
  this.timeout(120_000);

  for (const [title, { beginning, states }] of Object.entries(holds)) {
    it(`has one owner, and ends or says what it waits for, ${title}`, () => {
      const walk = explore(handoff(beginning));
      assert.equal(walk.fault, undefined, walk.story?.join("\n"));
      assert.ok(walk.states >= states, `only ${walk.states} states were walked: the model has shrunk`);
    });
  }

  for (const [mutant, { beginning, shows }] of Object.entries(needed) as [Mutant, (typeof needed)[Mutant]][]) {
    it(`finds the ${mutant}`, () => {
      const { fault, story } = withMutant(mutant, () => explore(handoff({ ...beginning, mutant })));
      assert.match(fault ?? "nothing was found", shows, story?.join("\n"));
    });
  }
});
