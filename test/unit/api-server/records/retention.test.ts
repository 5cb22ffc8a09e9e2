/** What is forgotten: on virtual time, for longer than anybody would wait. */
import assert from "node:assert/strict";
import { Event, EventType } from "../../../../gen/drover/v1/event.ts";
import type { InvalidArgument } from "../../../../lib/errors.ts";
import { silentLog } from "../../../../lib/log.ts";
import { events } from "../../../../api-server/kinds/table.ts";
import { recordEvent, recordEvents } from "../../../../api-server/records/events.ts";
import { keepTidy, RevisionAges } from "../../../../api-server/records/retention.ts";
import { Compacted } from "../../../../api-server/store/store.ts";
import { admin, callBy, makeObjects } from "../fixture.ts";

const MINUTE_MS = 60_000;

const happened = (name: string, reason: string): Event =>
  Event.create({ regarding: { kind: "Node", namespace: "", name, uid: `uid-${name}` }, reason, message: reason, type: EventType.NORMAL, source: "test" });

describe("retention", () => {
  it("keeps a quarter of an hour of revisions", () => {
    const ages = new RevisionAges();
    const marks: (number | undefined)[] = [];
    for (let minute = 0; minute <= 20; minute += 1) marks.push(ages.mark(1 + minute * 10, minute * MINUTE_MS));
    assert.deepEqual(marks.slice(0, 15), Array.from({ length: 15 }, () => undefined));
    assert.deepEqual(marks.slice(15), [1, 11, 21, 31, 41, 51]);
  });

  it("keeps no more than 200,000 revisions however fast they come", () => {
    const ages = new RevisionAges();
    assert.equal(ages.mark(150_000, 0), undefined);
    assert.equal(ages.mark(450_000, MINUTE_MS), 250_000);
  });

  it("compacts, and forgets requests and events, by itself", async () => {
    const { objects, store, clock } = await makeObjects();
    const stop = new AbortController();
    const parts = { objects, store, clock };
    await recordEvent(parts, happened("a", "Old"), callBy(admin, { requestId: "r", repeatable: true }));
    const early = await store.head();
    const running = keepTidy({ ...parts, log: silentLog, signal: stop.signal });
    const pass = async (minutes: number, stepMinutes: number) => {
      for (let passed = 0; passed < minutes; passed += stepMinutes) {
        for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
        clock.pass(stepMinutes * MINUTE_MS);
      }
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    };
    await recordEvent(parts, happened("b", "Later"), callBy(admin));
    await pass(17, 1);
    await assert.rejects(store.list("", { at: early }), Compacted);
    assert.ok(await store.request("local/r"));
    await pass(26 * 60, 60);
    assert.equal(await store.request("local/r"), undefined);
    await recordEvent(parts, happened("b", "Later"), callBy(admin));
    await pass(6 * 24 * 60, 60);
    assert.deepEqual((await objects.list(events)).items.map(({ reason }) => reason), ["Later"]);
    stop.abort();
    await running;
  });
});

describe("events", () => {
  it("are folded by object and reason, with the first and the last time", async () => {
    const { objects, store, clock } = await makeObjects();
    const parts = { objects, store, clock };
    await recordEvent(parts, happened("a", "Silent"), callBy(admin));
    clock.pass(5_000);
    const folded = await recordEvent(parts, { ...happened("a", "Silent"), message: "again" }, callBy(admin));
    await recordEvent(parts, happened("b", "Silent"), callBy(admin));
    assert.deepEqual([folded.count, folded.message], [2, "again"]);
    assert.equal(folded.lastTime!.getTime() - folded.firstTime!.getTime(), 5_000);
    assert.equal((await objects.list(events)).items.length, 2);
  });

  it("are counted right when they come at once", async () => {
    const parts = await makeObjects();
    await Promise.all(Array.from({ length: 12 }, () => recordEvent(parts, happened("a", "Silent"), callBy(admin))));
    assert.deepEqual((await parts.objects.list(events)).items.map(({ count }) => count), [12]);
  });

  it("are all recorded but the one that is refused, which the caller is told of", async () => {
    const parts = await makeObjects();
    const sent = [happened("a", "Silent"), { ...happened("a", "Lost"), reason: "no reason" }, happened("a", "Silent"), happened("b", "Silent")];
    await assert.rejects(recordEvents(parts, sent, callBy(admin)), (error: InvalidArgument) => error.faults.some(({ path }) => path === "event.reason"));
    assert.deepEqual((await parts.objects.list(events)).items.map(({ regarding, count }) => [regarding!.name, count]), [["a", 2], ["b", 1]]);
  });

  it("are at most 200 for an object, the latest ones", async () => {
    const parts = await makeObjects();
    for (let i = 0; i < 210; i += 1) {
      parts.clock.pass(1_000);
      await recordEvent(parts, happened("a", `Reason${i}`), callBy(admin));
    }
    const { items } = await parts.objects.list(events, { pageSize: 500 });
    const reasons = new Set(items.map(({ reason }) => reason));
    assert.equal(reasons.size, 200);
    assert.deepEqual([reasons.has("Reason9"), reasons.has("Reason10"), reasons.has("Reason209")], [false, true, true]);
  });
});
