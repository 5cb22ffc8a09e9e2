/** The objects in memory: whole before they count, and never less than they were while a broken watch begins again. */
import assert from "node:assert/strict";
import { Role } from "../../../../gen/drover/v1/role.ts";
import { Channel } from "../../../../lib/channel.ts";
import { silentLog } from "../../../../lib/log.ts";
import { Mirror } from "../../../../api-server/auth/mirror.ts";
import { roles } from "../../../../api-server/kinds/table.ts";
import type { WatchEvent } from "../../../../api-server/objects.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const role = (name: string) => Role.create({ metadata: { name } });
const ticks = () => new Promise((resolve) => setImmediate(resolve));

function start() {
  const clock = new ManualClock();
  const stop = new AbortController();
  const watches: Channel<WatchEvent<Role>>[] = [];
  let changes = 0;
  const objects = {
    watch: () => {
      watches.push(new Channel<WatchEvent<Role>>(100));
      return watches.at(-1)! as never;
    },
  };
  const mirror = new Mirror<Role>({ kind: roles, objects, clock, log: silentLog, changed: () => (changes += 1) });
  void mirror.run(stop.signal);
  return { mirror, clock, stop, watches, names: () => [...mirror.objects.keys()].sort(), changes: () => changes };
}

const added = (name: string, n: number): WatchEvent<Role> => ({ type: "added", object: role(name), revision: `i.${n}` });
const bookmark = (n: number): WatchEvent<Role> => ({ type: "bookmark", revision: `i.${n}` });

describe("objects in memory", () => {
  it("count when all of them are there, and are reached by revision", async () => {
    const { mirror, watches, names, changes, stop } = start();
    const reached: string[] = [];
    for (const revision of ["", "i.5", "i.7"]) void mirror.reached(revision).then(() => reached.push(revision));
    watches[0]!.offer(added("a", 5));
    await ticks();
    assert.deepEqual([names(), reached], [[], []]);
    watches[0]!.offer(bookmark(5));
    await ticks();
    assert.deepEqual([names(), reached, changes()], [["a"], ["", "i.5"], 1]);
    watches[0]!.offer({ type: "deleted", object: role("a"), reason: "deleted", revision: "i.7" });
    await ticks();
    assert.deepEqual([names(), reached, changes()], [[], ["", "i.5", "i.7"], 2]);
    watches[0]!.offer(bookmark(9));
    await mirror.reached("i.8");
    assert.equal(changes(), 2);
    stop.abort();
  });

  it("stay what they were until a new picture is whole", async () => {
    const { clock, watches, names, stop } = start();
    for (const event of [added("a", 1), added("b", 2), bookmark(2)]) watches[0]!.offer(event);
    await ticks();
    watches[0]!.close(new Error("compacted"));
    await ticks();
    clock.pass(1_000);
    await ticks();
    assert.equal(watches.length, 2);
    watches[1]!.offer(added("b", 4));
    await ticks();
    assert.deepEqual(names(), ["a", "b"]);
    watches[1]!.offer(bookmark(4));
    await ticks();
    assert.deepEqual(names(), ["b"]);
    stop.abort();
  });
});
