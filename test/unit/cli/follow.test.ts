/** What a followed watch tells: everything once, in spite of cuts and of revisions that are gone. */
import assert from "node:assert/strict";
import { ClientError, Status } from "nice-grpc-common";
import { Namespace } from "../../../gen/drover/v1/namespace.ts";
import { systemClock } from "../../../lib/clock.ts";
import { systemRandom } from "../../../lib/random.ts";
import { follow } from "../../../cli/follow.ts";
import type { ObjectClient, Selection, WatchEvent } from "../../../cli/objects.ts";

const object = (name: string, version: string) => Namespace.create({ metadata: { name, uid: name, resourceVersion: version } });
const added = (name: string, revision: string): WatchEvent<Namespace> => ({ type: "added", object: object(name, revision), revision });
const bookmark = (revision: string): WatchEvent<Namespace> => ({ type: "bookmark", revision });
const cut = (code: Status) => new ClientError("/watch", code, "cut");

/** Plays one script for each call, and remembers from where each call went on. */
async function played(scripts: (WatchEvent<Namespace> | ClientError)[][]): Promise<{ told: string[]; from: string[] }> {
  const from: string[] = [];
  const stop = new AbortController();
  const objects = {
    async *watch({ fromRevision }: Selection & { fromRevision: string }) {
      from.push(fromRevision);
      const script = scripts.shift();
      if (!script) return stop.abort();
      for (const step of script) {
        if (step instanceof ClientError) throw step;
        yield step;
      }
    },
  };
  const told: string[] = [];
  const session = { clock: systemClock, random: systemRandom, signal: stop.signal };
  for await (const change of follow(objects as unknown as ObjectClient<Namespace>, { namespace: "" }, session)) {
    told.push(change.type === "synced" ? "synced" : `${change.type} ${change.object.metadata?.name} ${change.object.metadata?.resourceVersion}`);
  }
  return { told, from };
}

describe("follow", () => {
  it("resumes where it was when the server goes away", async () => {
    const { told, from } = await played([
      [added("a", "1"), bookmark("1"), { type: "modified", object: object("a", "2"), revision: "2" }, cut(Status.UNAVAILABLE)],
      [{ type: "deleted", object: object("a", "2"), revision: "3" }],
    ]);
    assert.deepEqual(told, ["added a 1", "synced", "modified a 2", "deleted a 2"]);
    assert.deepEqual(from, ["", "2", "3"]);
  });

  it("lists again when its revision is gone, and tells only what is new, the deleted included", async () => {
    const { told, from } = await played([
      [added("a", "1"), added("b", "2"), added("c", "3"), bookmark("3"), cut(Status.OUT_OF_RANGE)],
      [added("a", "1"), added("c", "9"), added("d", "8"), bookmark("9")],
    ]);
    assert.deepEqual(told, ["added a 1", "added b 2", "added c 3", "synced", "modified c 9", "added d 8", "deleted b 2"]);
    assert.deepEqual(from, ["", "", "9"]);
  });

  it("lists again when the caller's rights have changed: what is out of sight now is told as deleted", async () => {
    const { told, from } = await played([
      [added("a", "1"), added("b", "2"), bookmark("2"), cut(Status.ABORTED)],
      [added("a", "1"), added("old", "0"), bookmark("3")],
    ]);
    assert.deepEqual(told, ["added a 1", "added b 2", "synced", "added old 0", "deleted b 2"]);
    assert.deepEqual(from, ["", "", "3"]);
  });

  it("begins a cut beginning again without repeating it", async () => {
    const { told } = await played([[added("a", "1"), cut(Status.UNAVAILABLE)], [added("a", "1"), added("b", "2"), bookmark("2")]]);
    assert.deepEqual(told, ["added a 1", "added b 2", "synced"]);
  });

  it("fails at once when the server never answered, or refuses", async () => {
    await assert.rejects(played([[cut(Status.UNAVAILABLE)]]), ClientError);
    await assert.rejects(played([[bookmark("1"), cut(Status.INVALID_ARGUMENT)]]), ClientError);
  });
});
