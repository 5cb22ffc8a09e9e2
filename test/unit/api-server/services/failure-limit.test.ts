import assert from "node:assert/strict";
import { ResourceExhausted } from "../../../../lib/errors.ts";
import { FailureLimit } from "../../../../api-server/services/failure-limit.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const failing = () => Promise.reject(new Error("wrong"));
const fine = async () => "fine";
const isFailure = () => true;

describe("a limit on failures", () => {
  it("lets five through, then one for each second that passes, for each address by itself", async () => {
    const clock = new ManualClock();
    const limit = new FailureLimit(clock);
    for (let i = 0; i < 5; i += 1) await assert.rejects(limit.guard("a", failing, isFailure), /wrong/);
    await assert.rejects(limit.guard("a", fine, isFailure), ResourceExhausted);
    assert.equal(await limit.guard("b", fine, isFailure), "fine");
    clock.pass(1_000);
    await assert.rejects(limit.guard("a", failing, isFailure), /wrong/);
    await assert.rejects(limit.guard("a", failing, isFailure), ResourceExhausted);
    clock.pass(60_000);
    const ends = await Promise.allSettled(Array.from({ length: 10 }, () => limit.guard("a", failing, isFailure)));
    assert.equal(ends.filter(({ status, ...end }) => status === "rejected" && (end as { reason: unknown }).reason instanceof ResourceExhausted).length, 5);
  });

  it("counts nothing that is no failure", async () => {
    const limit = new FailureLimit(new ManualClock());
    for (let i = 0; i < 50; i += 1) assert.equal(await limit.guard("a", fine, isFailure), "fine");
    for (let i = 0; i < 50; i += 1) await assert.rejects(limit.guard("a", failing, () => false), /wrong/);
  });

  it("remembers a bounded number of addresses", async () => {
    const limit = new FailureLimit(new ManualClock());
    const exhaust = async (address: string) => {
      for (let i = 0; i < 5; i += 1) await limit.guard(address, failing, isFailure).catch(() => undefined);
    };
    await exhaust("first");
    for (let i = 0; i < 5_000; i += 1) await limit.guard(`other-${i}`, failing, isFailure).catch(() => undefined);
    assert.equal(await limit.guard("first", fine, isFailure), "fine");
  });
});
