/**
 * T16: HTTP/2 by people who mean harm, on the listeners that anybody can reach, and by a user who has turned. The server
 * stays up and small, and who behaves is served. `npm run attack` does the same for a minute each, and measures.
 */
import assert from "node:assert/strict";
import { besiege, CUT_WITHIN_MS } from "./attacks/siege.ts";
import { SIEGES } from "./attacks/sieges.ts";
import { startVictim } from "./attacks/victim.ts";
import type { Measured, Victim } from "./attacks/victim.ts";

const SECONDS = Number(process.env["DROVER_ATTACK_SECONDS"] ?? 1);
/** Served at all, also on a busy machine; how much slower it gets is measured by `npm run attack`. */
const MEDIAN_MS_MAX = 1_000;

describe("T16: HTTP/2 floods", function () {
  this.timeout(2 * CUT_WITHIN_MS + SECONDS * 1000);
  let victim: Victim;
  let calm: Measured;
  before(async () => {
    victim = await startVictim();
    calm = await victim.measure(AbortSignal.timeout(2_000));
  });
  after(() => victim?.[Symbol.asyncDispose]());

  for (const siege of SIEGES) {
    it(`${siege.attack} by ${siege.as} on the ${siege.on} listener${siege.cutFor ? ", which is cut" : ""}`, async () => {
      const { alive, wasCut, before, during } = await besiege(victim, siege, { before: { ...calm, rssBytes: victim.rssBytes() }, seconds: SECONDS });
      assert.ok(alive, `the server is down:\n${victim.program.lines().slice(-5).join("\n")}`);
      assert.ok(wasCut, `nobody was cut for ${siege.cutFor?.join(" or ")}`);
      assert.equal(during.failed, 0, `of ${during.calls} calls`);
      assert.ok(during.rssBytes < 2 * before.rssBytes, `from ${before.rssBytes >> 20} MiB to ${during.rssBytes >> 20} MiB`);
      assert.ok(during.medianMs < MEDIAN_MS_MAX, `the median went from ${before.medianMs.toFixed(1)} ms to ${during.medianMs.toFixed(1)} ms`);
    });
  }
});
