/** What the controller tells people: many things in one call, soon, and none of them twice in a row. */
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { Notices } from "../../../controller/events.ts";
import type { Clients } from "../../../controller/api.ts";
import { EventType } from "../../../gen/drover/v1/event.ts";
import { silentLog } from "../../../lib/log.ts";
import { ManualClock } from "../api-server/sessions/manual-clock.ts";
import { aNode } from "./world.ts";

const AGES_MS = 60_000;

function telling() {
  const calls: string[][] = [];
  const stop = new AbortController();
  const clock = new ManualClock();
  const notices = new Notices();
  const controlEvents = {
    recordEvents: async ({ events }: { events: { reason: string }[] }) => {
      calls.push(events.map(({ reason }) => reason));
      if (calls.length === 1) throw new Error("The server is away");
      return {};
    },
  };
  const clients = { controlEvents } as unknown as Pick<Clients, "controlEvents">;
  const delivered = notices.deliver({ clients, clock, log: silentLog, signal: stop.signal });
  const say = (reason: string) => notices.say({ kind: "Node", about: aNode("a"), reason, message: "said", type: EventType.NORMAL });
  const pass = async (ms: number) => {
    for (let i = 0; i < 10; i += 1) await turn();
    clock.pass(ms);
    for (let i = 0; i < 10; i += 1) await turn();
  };
  return { calls, say, pass, end: () => (stop.abort(new Error("The test is over")), delivered) };
}

describe("notices", () => {
  it("go out together, in the order in which they were said, after a moment", async () => {
    const { calls, say, pass, end } = telling();
    for (const reason of ["Bound", "Running", "Bound"]) say(reason);
    await pass(10);
    assert.deepEqual(calls, []);
    await pass(1_000);
    assert.deepEqual(calls, [["Bound", "Running"]]);
    await end();
  });

  it("are at most 64 in one call, and go on after a call that failed", async () => {
    const { calls, say, pass, end } = telling();
    for (let i = 0; i < 150; i += 1) say(`Reason${i}`);
    await pass(AGES_MS);
    await pass(AGES_MS);
    assert.deepEqual(calls.map(({ length }) => length), [64, 64, 22]);
    assert.equal(calls.flat()[149], "Reason149");
    await end();
  });
});
