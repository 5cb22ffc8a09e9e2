/**
 * T16: HTTP/2 by people who mean harm, on the listeners that anybody can reach, and by a user who has turned. The server
 * stays up and small, and who behaves is served. `npm run attack` does the same for a minute each, and measures.
 */
import assert from "node:assert/strict";
import { besiege } from "./attacks/siege.ts";
import { SIEGES } from "./attacks/sieges.ts";
import { startVictim } from "./attacks/victim.ts";
import type { Measured, Victim } from "./attacks/victim.ts";

const SECONDS = Number(process.env["DROVER_ATTACK_SECONDS"] ?? 2);
/** Served at all, also on a busy machine; how much slower it gets is measured by `npm run attack`. */
const P99_MS_MAX = 2_000;

describe("T16: HTTP/2 floods", function () {
  this.timeout((SECONDS + 30) * 1000);
  let victim: Victim;
  let calm: Measured;
  before(async () => {
    victim = await startVictim();
    calm = await victim.measure(AbortSignal.timeout(2_000));
  });
  after(() => victim?.[Symbol.asyncDispose]());

  for (const siege of SIEGES) {
    it(`${siege.attack} by ${siege.as} on the ${siege.on} listener`, async () => {
      const { alive, before, during } = await besiege(victim, siege, { before: { ...calm, rssBytes: victim.rssBytes() }, seconds: SECONDS });
      assert.ok(alive, `the server is down:\n${victim.program.lines().slice(-5).join("\n")}`);
      assert.equal(during.failed, 0, `of ${during.calls} calls`);
      assert.ok(during.rssBytes < 2 * before.rssBytes, `from ${before.rssBytes >> 20} MiB to ${during.rssBytes >> 20} MiB`);
      assert.ok(during.p99Ms < P99_MS_MAX, `p99 went from ${before.p99Ms.toFixed(1)} ms to ${during.p99Ms.toFixed(1)} ms`);
    });
  }

  it("cut what it had to", () => {
    const cut = victim.program.lines().filter((line) => line.includes("a connection was cut"));
    for (const reason of ["pings", "settings", "bytes received", "calls by nobody", "compressed calls by nobody"]) {
      assert.ok(cut.some((line) => line.includes(`"reason":"${reason}"`)), `nobody was cut for ${reason}`);
    }
  });
});
