/** What is written of refusals, on virtual time: each while they are few, their number when they are many. */
import assert from "node:assert/strict";
import { RefusalBudget } from "../../../../api-server/audit/budget.ts";
import { Recorder } from "../../../../api-server/audit/recorder.ts";
import type { Act } from "../../../../api-server/store/audit.ts";
import { StoreFull } from "../../../../api-server/store/store.ts";
import { silentLog } from "../../../../lib/log.ts";
import { act } from "../../../contract/store-audit.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const refusal = (source: string, more: Partial<Act> = {}) => act({ source, decision: "denied", code: "PERMISSION_DENIED", ...more });
const sum = (acts: readonly Act[]) => acts.reduce((total, { count }) => total + count, 0);

/** An appendAudit that a test can hold up or break. */
function recording() {
  const clock = new ManualClock();
  const batches: (readonly Act[])[] = [];
  const disk = { broken: undefined as Error | undefined, wait: Promise.resolve() };
  const appendAudit = async (acts: readonly Act[]) => {
    await disk.wait;
    if (disk.broken) throw disk.broken;
    batches.push(acts);
  };
  return { clock, batches, disk, recorder: new Recorder({ store: { appendAudit }, clock, log: silentLog }), written: () => batches.flat() };
}

describe("refusals in the audit", () => {
  it("are written one by one while they are few, and then by their number, once a minute and source", async () => {
    const { clock, recorder, written } = recording();
    for (let i = 0; i < 5_000; i += 1) recorder.refused(refusal(`10.0.0.1:${i}`));
    recorder.refused(refusal("10.0.0.2:1"));
    await recorder.flushed();
    assert.deepEqual([written().length, sum(written())], [31, 31]);
    clock.pass(60_000);
    await recorder.flushed();
    assert.deepEqual([written().length, sum(written()), written().at(-1)!.count], [32, 5_001, 4_970]);
    recorder.refused(refusal("10.0.0.1:9"));
    await recorder.flushed();
    assert.equal(written().length, 33);
  });

  it("are bounded whatever the number of sources", () => {
    const budget = new RefusalBudget();
    let written = 0;
    for (let minute = 0; minute < 10; minute += 1) {
      for (let i = 0; i < 20_000; i += 1) if (budget.admit(refusal(`10.${i >> 8}.${i & 255}.1:1`), minute * 60_000 + i)) written += 1;
      const { acts } = budget.due((minute + 1) * 60_000 - 1);
      written += acts.length;
    }
    const { acts } = budget.due(Infinity);
    assert.ok(written + acts.length <= 11 * 401, `${written + acts.length} entries for 200,000 refusals`);
  });

  it("are counted to the last one, also when the server stops", async () => {
    const { recorder, written } = recording();
    for (let i = 0; i < 100; i += 1) recorder.refused(refusal("unix"));
    await recorder.close();
    assert.equal(sum(written()), 100);
  });

  it("wait for nobody and keep nobody waiting, and share a write", async () => {
    const { recorder, disk, batches } = recording();
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.wait = promise;
    for (let i = 0; i < 20; i += 1) recorder.refused(refusal("unix"));
    await Promise.resolve();
    for (let i = 0; i < 5; i += 1) recorder.refused(refusal("unix"));
    resolve();
    await recorder.flushed();
    assert.deepEqual(batches.map(({ length }) => length), [20, 5]);
  });
});

describe("acts in the audit", () => {
  it("are on the disk when the recorder says so, and refused when they cannot be", async () => {
    const { recorder, disk, written } = recording();
    await recorder.record(act());
    assert.equal(written().length, 1);
    disk.broken = new StoreFull("full");
    await assert.rejects(recorder.record(act()), StoreFull);
    disk.broken = undefined;
    await recorder.record(act());
    assert.equal(written().length, 2);
  });
});
