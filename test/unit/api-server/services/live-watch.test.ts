/** Figures between two records of a migration: told to those who watch it, the latest alone, and to nobody else. */
import assert from "node:assert/strict";
import { MigrationPhase, VirtualMachineInstanceMigration } from "../../../../gen/drover/v1/migration.ts";
import { MigrationProgress } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { withLiveProgress } from "../../../../api-server/services/live-watch.ts";
import { LiveProgress } from "../../../../api-server/sessions/live-progress.ts";
import { report, serve } from "../sessions/serving.ts";
import { enter, moving } from "./moving.ts";

type Message = Parameters<typeof withLiveProgress>[0] extends AsyncGenerator<infer M> ? M : never;

const progress = (memoryRemainingBytes: number) => MigrationProgress.create({ memoryTotalBytes: 100, memoryRemainingBytes });
const migration = (uid: string, phase: MigrationPhase = MigrationPhase.RUNNING) => VirtualMachineInstanceMigration.create({ metadata: { uid, name: uid }, status: { phase } });
const added = (uid: string, phase?: MigrationPhase): Message => ({ event: { $case: "added", value: migration(uid, phase) }, revision: "r.1" });
const BOOKMARK: Message = { event: { $case: "bookmark", value: {} }, revision: "r.2" };

/** A watch that a test feeds by hand. */
function fed() {
  const live = new LiveProgress();
  const waiting: ((message: Message | undefined) => void)[] = [];
  const queue: (Message | undefined)[] = [];
  const feed = (message: Message | undefined) => {
    const take = waiting.shift();
    if (take) take(message);
    else queue.push(message);
  };
  async function* source(): AsyncGenerator<Message> {
    for (;;) {
      const message = queue.length > 0 ? queue.shift() : await new Promise<Message | undefined>((resolve) => waiting.push(resolve));
      if (!message) return;
      yield message;
    }
  }
  const watch = withLiveProgress(source(), live);
  const next = async (): Promise<string> => {
    const { value, done } = await watch.next();
    if (done || !value) return "end";
    const { event, revision } = value as Message;
    if (event.$case === "bookmark") return `bookmark ${revision}`;
    const object = event.$case === "deleted" ? event.value.migration : event.value;
    return `${event.$case} ${object?.metadata?.uid} ${object?.status?.progress?.memoryRemainingBytes ?? "-"} ${revision}`;
  };
  return { live, feed, next, watch };
}

describe("the figures of a running transfer on a watch", () => {
  it("come between two records, at the revision that the watch has reached, and only the latest for a slow reader", async () => {
    const { live, feed, next } = fed();
    for (const message of [added("m"), BOOKMARK]) feed(message);
    assert.deepEqual([await next(), await next()], ["added m - r.1", "bookmark r.2"]);
    const coming = next();
    live.tell("m", progress(90));
    assert.equal(await coming, "modified m 90 r.2");
    for (const left of [80, 70, 60]) live.tell("m", progress(left));
    assert.equal(await next(), "modified m 60 r.2");
  });

  it("come of nothing that the watch does not show, that has ended, or that is not told in full yet", async () => {
    const { live, feed, next } = fed();
    feed(added("m"));
    assert.equal(await next(), "added m - r.1");
    live.tell("m", progress(90));
    for (const message of [added("ended", MigrationPhase.SUCCEEDED), BOOKMARK]) feed(message);
    assert.deepEqual([await next(), await next()], ["added ended - r.1", "bookmark r.2"]);
    for (const uid of ["another", "ended"]) live.tell(uid, progress(1));
    feed({ event: { $case: "modified", value: migration("m", MigrationPhase.FAILED) }, revision: "r.3" });
    assert.equal(await next(), "modified m - r.3");
    live.tell("m", progress(1));
    feed(undefined);
    assert.equal(await next(), "end");
  });

  it("leave nothing behind when the reader goes", async () => {
    const { live, feed, next, watch } = fed();
    for (const message of [added("m"), BOOKMARK]) feed(message);
    await next();
    await next();
    await watch.return(undefined);
    live.tell("m", progress(1));
    assert.equal((await watch.next()).done, true);
  });

  it("reach a client every time that the source reports them", async () => {
    await using server = await serve();
    const move = await moving(server);
    await enter(server, move);
    const { client, agent, vmi, uid } = move;
    let seq = 10;
    const tell = (left: number) => client.report({ ...report(agent, vmi, (seq += 1), {}), part: { $case: "migrationProgress", value: { migrationUid: uid, progress: progress(left) } } });
    const seen: number[] = [];
    for await (const { event } of server.migrations.watchVirtualMachineInstanceMigrations({ namespace: "", fromRevision: "", labelSelector: "", fieldSelector: "" })) {
      if (event?.$case === "modified") seen.push(event.value.status!.progress!.memoryRemainingBytes);
      // The first one is recorded as well; those of the next ten seconds are only told.
      if (event?.$case === "bookmark" || new Set(seen).size === 90 - (seen.at(-1) ?? 91)) await tell(89 - new Set(seen).size);
      if (seen.at(-1) === 86) break;
    }
    assert.deepEqual([...new Set(seen)], [89, 88, 87, 86]);
    assert.equal((await server.migrations.getVirtualMachineInstanceMigration({ namespace: "default", name: "move" })).migration!.status!.progress!.memoryRemainingBytes, 89);
  });
});
