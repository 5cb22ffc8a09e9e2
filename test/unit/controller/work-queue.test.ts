import assert from "node:assert/strict";
import type { Clock } from "../../../lib/clock.ts";
import { WorkQueue } from "../../../controller/work-queue.ts";

/** Timers that fire when the test moves the time. */
function handClock() {
  let now = 0;
  let timers: { atMs: number; run: () => void }[] = [];
  const clock: Clock = {
    monotonicMs: () => now,
    now: () => new Date(now),
    after(delayMs, run) {
      const timer = { atMs: now + delayMs, run };
      timers.push(timer);
      return { cancel: () => void (timers = timers.filter((other) => other !== timer)) };
    },
  };
  const pass = (ms: number) => {
    now += ms;
    const due = timers.filter(({ atMs }) => atMs <= now);
    timers = timers.filter(({ atMs }) => atMs > now);
    for (const { run } of due) run();
  };
  return { clock, pass };
}

const random = { uuid: () => "", fraction: () => 0, token: () => "" };
const signal = new AbortController().signal;

describe("the work queue", () => {
  it("hands a key out once, and again after if it came meanwhile", async () => {
    const queue = new WorkQueue({ clock: handClock().clock, random });
    queue.add("x");
    queue.add("x");
    assert.equal(await queue.take(signal), "x");
    queue.add("x");
    assert.equal(queue.length, 0);
    queue.done("x", { failed: false });
    assert.equal(queue.length, 1);
  });

  it("brings a failing key back later and later, until it succeeds", async () => {
    const { clock, pass } = handClock();
    const queue = new WorkQueue({ clock, random });
    const waits: number[] = [];
    queue.add("x");
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await queue.take(signal);
      queue.done("x", { failed: true });
      let waitedMs = 0;
      for (; queue.length === 0; waitedMs += 5) pass(5);
      waits.push(waitedMs);
    }
    assert.deepEqual(waits, [10, 20, 40]);
  });

  it("keeps the earlier of two times", () => {
    const { clock, pass } = handClock();
    const queue = new WorkQueue({ clock, random });
    queue.addAfter("x", 1_000);
    queue.addAfter("x", 100);
    queue.addAfter("x", 5_000);
    pass(100);
    assert.equal(queue.length, 1);
  });

  it("lets a waiting worker go when it is told to stop", async () => {
    const stop = new AbortController();
    const queue = new WorkQueue({ clock: handClock().clock, random });
    const taken = queue.take(stop.signal);
    stop.abort();
    assert.equal(await taken, undefined);
  });

  it("wakes those who wait now, after others have been told to stop", async () => {
    const stop = new AbortController();
    const queue = new WorkQueue({ clock: handClock().clock, random });
    const before = [queue.take(stop.signal), queue.take(stop.signal)];
    stop.abort();
    assert.deepEqual(await Promise.all(before), [undefined, undefined]);
    const taken = queue.take(signal);
    queue.add("x");
    assert.equal(await taken, "x");
  });

  it("gives each of several keys to a worker of its own", async () => {
    const queue = new WorkQueue({ clock: handClock().clock, random });
    const taken = [queue.take(signal), queue.take(signal)];
    queue.add("x");
    queue.add("y");
    assert.deepEqual(await Promise.all(taken), ["x", "y"]);
  });

  it("takes nothing while it is closed, and nothing from before", async () => {
    const { clock, pass } = handClock();
    const queue = new WorkQueue({ clock, random });
    queue.add("x");
    queue.addAfter("y", 10);
    queue.close();
    queue.add("z");
    queue.addAfter("z", 10);
    queue.open();
    pass(20);
    assert.equal(queue.length, 0);
    queue.add("x");
    assert.equal(await queue.take(signal), "x");
  });
});
