/** Renewal and alarms on time that the test moves. */
import "reflect-metadata";
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { silentLog } from "../../../../lib/log.ts";
import { CERTIFICATE_MS, renewalInMs } from "../../../../lib/pki/lifetime.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { Authority } from "../../../../api-server/authority/authority.ts";
import type { Pair } from "../../../../api-server/authority/files.ts";
import { alarmStep, firstCertificates, keepRenewed, watchExpiry } from "../../../../api-server/authority/upkeep.ts";
import { eventually } from "../sessions/serving.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe("a certificate's renewal", () => {
  it("is due at half of its life, a tenth of that earlier or later", () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 0, max: CERTIFICATE_MS }), (fraction, ageMs) => {
      const notBefore = new Date(0);
      const inMs = renewalInMs({ notBefore, notAfter: new Date(CERTIFICATE_MS) }, new Date(ageMs), { ...systemRandom, fraction: () => fraction });
      const at = ageMs + inMs;
      assert.ok(inMs >= 0 && (inMs === 0 || (at >= 0.45 * CERTIFICATE_MS - 1 && at <= 0.55 * CERTIFICATE_MS + 1)), `${at}`);
    }));
  });
});

describe("the authority's alarm", () => {
  it("has three steps", () => {
    const now = new Date(0);
    const rows = [[15, undefined], [14, 14], [8, 14], [7, 7], [1.5, 7], [1, 1], [0, 1], [-3, 1]] as const;
    for (const [days, step] of rows) assert.equal(alarmStep(new Date(days * DAY_MS), now), step, `${days} days`);
  });
});

describe("the authority's upkeep", function () {
  this.timeout(20_000);

  async function started(fraction = 0.5) {
    const directory = mkdtempSync(join(tmpdir(), "drover-upkeep-"));
    const clock = new ManualClock();
    const authority = await Authority.open({ directory, trustDomain: "test", clock, random: systemRandom });
    const stop = new AbortController();
    const renewed: Pair[] = [];
    const alarms: string[] = [];
    const parts = {
      authority, clock, random: { ...systemRandom, fraction: () => fraction }, log: silentLog, names: { names: ["localhost"], addresses: [] },
      serverRenewed: (pair: Pair) => void renewed.push(pair),
      alarm: async (message: string) => void alarms.push(message),
    };
    const { server, renewInMs } = await firstCertificates(parts);
    const running = [keepRenewed(parts, renewInMs, stop.signal), watchExpiry(parts, stop.signal)];
    /** An hour at a time, as nothing waits for longer; the work that falls due gets its turn. */
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += HOUR_MS) {
        clock.pass(Math.min(HOUR_MS, ms - passed));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    return {
      directory, clock, server, renewed, alarms, pass,
      controller: () => readFileSync(join(directory, "controller.pem"), "utf8"),
      async [Symbol.asyncDispose]() {
        stop.abort();
        clock.pass(DAY_MS);
        await Promise.all(running);
        chmodSync(directory, 0o700);
        rmSync(directory, { recursive: true });
      },
    };
  }

  it("renews both programs' certificates at half-life, again and again, with new keys", async () => {
    await using upkeep = await started();
    const before = upkeep.controller();
    await upkeep.pass(11 * HOUR_MS);
    assert.equal(upkeep.renewed.length, 0);
    await upkeep.pass(2 * HOUR_MS);
    await eventually(async () => upkeep.renewed.length === 1);
    assert.notEqual(upkeep.renewed[0]!.key, upkeep.server.key);
    assert.notEqual(upkeep.controller(), before);
    await upkeep.pass(13 * HOUR_MS);
    await eventually(async () => upkeep.renewed.length === 2);
  });

  it("says once at each step that the authority itself ends", async () => {
    await using upkeep = await started();
    await upkeep.pass(2 * HOUR_MS);
    assert.deepEqual(upkeep.alarms, []);
    for (const [days, said] of [[10 * 365 - 14, 1], [1, 1], [6, 2], [6, 3]] as const) {
      upkeep.clock.pass(days * DAY_MS);
      await eventually(async () => upkeep.alarms.length >= said);
      await upkeep.pass(HOUR_MS);
      assert.equal(upkeep.alarms.length, said, `${days} days on`);
    }
    assert.match(upkeep.alarms[0]!, /ends on 20\d\d-/);
  });
});
