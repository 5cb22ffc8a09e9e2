import assert from "node:assert/strict";
import { ClientError, Status } from "nice-grpc";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { Cache } from "../../../controller/cache.ts";
import type { Change } from "../../../controller/cache.ts";
import { inform } from "../../../controller/informer.ts";
import type { Source } from "../../../controller/informer.ts";
import type { Named } from "../../../controller/objects.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";

const random = { uuid: () => "", fraction: () => 0, token: () => "" };
const named = (name: string, revision: number): Named => ({ metadata: ObjectMeta.create({ name, resourceVersion: `s.${revision}` }) });
const broken = (code: Status) => new ClientError("/test", code, "made up");

/** Plays one script for each watch, and the last one for ever. */
async function watchThrough(scripts: ((from: string) => Change<Named>[] | ClientError)[]) {
  const asked: string[] = [];
  const stop = new AbortController();
  let lists = 0;
  const cache = new Cache<Named>({});
  const source: Source<Named> = {
    kind: "Thing",
    page: async (token) => {
      if (token === "") lists += 1;
      const page = token === "" ? 1 : 2;
      return { objects: [named(`page-${page}`, page)], nextPageToken: page === 1 ? "more" : "", revision: `s.${lists * 10}` };
    },
    async *watch(from) {
      asked.push(from);
      const script = scripts[asked.length - 1];
      if (!script) return stop.abort();
      const played = script(from);
      if (played instanceof ClientError) throw played;
      yield* played;
    },
  };
  await inform({ source, cache, clock: systemClock, random, log: silentLog, signal: stop.signal, onSynced: () => undefined });
  return { asked, lists, names: cache.list().map(({ metadata }) => metadata.name).sort((a, b) => a.localeCompare(b)) };
}

describe("the informer", () => {
  it("lists every page and resumes where a watch broke off", async () => {
    const seen = await watchThrough([
      () => [{ type: "put", object: named("x", 11), revision: "s.11" }, { type: "bookmark", revision: "s.15" }],
      () => broken(Status.UNAVAILABLE),
    ]);
    assert.deepEqual(seen, { asked: ["s.10", "s.15", "s.15"], lists: 1, names: ["page-1", "page-2", "x"] });
  });

  it("lists again when its place is gone", async () => {
    const seen = await watchThrough([() => [{ type: "put", object: named("x", 11), revision: "s.11" }], () => broken(Status.OUT_OF_RANGE)]);
    assert.deepEqual(seen, { asked: ["s.10", "s.11", "s.20"], lists: 2, names: ["page-1", "page-2"] });
  });
});
