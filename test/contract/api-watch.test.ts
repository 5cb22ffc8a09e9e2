/** Watches over real sockets: complete, ordered, resumable, and no reader's pace is another's business. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { DeletionReason } from "../../gen/drover/v1/meta.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import type { WatchVirtualMachinesRequest } from "../../gen/drover/v1/virtual_machine.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { connect } from "../../lib/client.ts";
import { silentLog } from "../../lib/log.ts";
import { systemRandom } from "../../lib/random.ts";
import { assemble } from "../../api-server/assemble.ts";
import { listenersOf } from "../../api-server/listeners.ts";
import { listenAll } from "../../api-server/server.ts";
import { MemoryStore } from "../../api-server/store/memory.ts";
import { ManualClock } from "../unit/api-server/sessions/manual-clock.ts";
import { wholeMachine } from "./api-machine.ts";
import { EVERYTHING, ONCE, refusal } from "./api-process.ts";
import type { Clients } from "./api-process.ts";

/** What the API promises. */
const BOOKMARK_EVERY_MS = 30_000;

async function serve() {
  const directory = mkdtempSync(join(tmpdir(), "drover-watch-"));
  const unix = join(directory, "api.sock");
  const store = new MemoryStore({ identity: { storeId: "store", incarnation: "test" } });
  const clock = new ManualClock();
  const assembly = await assemble({ store, clock, random: systemRandom, log: silentLog, leaseMs: 15_000 });
  const listening = await listenAll(listenersOf({ listen: { unix }, auth: { oidc: [] } }, assembly.parts), assembly.server);
  const connection = connect({ server: `unix://${unix}` });
  const machines = connection.client(VirtualMachineServiceDefinition);
  return {
    store, clock, unix, machines, spaces: connection.client(NamespaceServiceDefinition),
    watch: (request: Partial<WatchVirtualMachinesRequest> = {}) => new Watch(machines, request),
    create: (name: string, labels: Record<string, string> = {}, namespace = "default") =>
      machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine({ name, namespace, labels }) }),
    relabel: (name: string, labels: Record<string, string>) =>
      machines.updateVirtualMachine({ ...ONCE, virtualMachine: wholeMachine({ name, labels }), updateMask: ["metadata.labels"] }),
    async remove(name: string) {
      const { virtualMachine } = await machines.deleteVirtualMachine({ ...ONCE, namespace: "", name, uid: "", resourceVersion: "" });
      return machines.updateVirtualMachineStatus({ virtualMachine: { ...virtualMachine!, metadata: { ...virtualMachine!.metadata!, finalizers: [] } } });
    },
    revision: async () => (await machines.listVirtualMachines(EVERYTHING)).revision,
    async [Symbol.asyncDispose]() {
      connection[Symbol.dispose]();
      await Promise.all([assembly.stop(), ...listening.map((each) => each.close(1_000))]);
      rmSync(directory, { recursive: true });
    },
  };
}
type Server = Awaited<ReturnType<typeof serve>>;
type Machines = Clients["machines"];

/** What came of one watch, in words such as "added web". */
class Watch {
  revision = "";
  readonly #stop = new AbortController();
  readonly #events: AsyncIterator<{ event?: { $case: string; value: unknown } | undefined; revision: string }>;

  constructor(machines: Machines, request: Partial<WatchVirtualMachinesRequest>) {
    const { signal } = this.#stop;
    this.#events = machines.watchVirtualMachines({ namespace: "", fromRevision: "", labelSelector: "", fieldSelector: "", ...request }, { signal })[Symbol.asyncIterator]();
  }

  async next(): Promise<string> {
    const { done, value } = await this.#events.next();
    if (done) throw new Error("The watch ended");
    this.revision = value.revision;
    const { $case, value: about } = value.event!;
    if ($case === "bookmark") return "bookmark";
    const { virtualMachine = about, reason } = about as { virtualMachine?: unknown; reason?: DeletionReason };
    const { name, labels } = (virtualMachine as { metadata: { name: string; labels: Record<string, string> } }).metadata;
    return [$case, name, labels["n"], reason === DeletionReason.OUT_OF_SCOPE && "out of scope"].filter(Boolean).join(" ");
  }

  async take(count: number): Promise<string[]> {
    const taken: string[] = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#events.return?.().catch(() => undefined);
  }
}

describe("watches of the api-server", function () {
  this.timeout(30_000);
  let server: Server;
  beforeEach(async () => {
    server = await serve();
  });
  afterEach(() => server[Symbol.asyncDispose]());

  it("begin with all that is there and a bookmark, or from a revision with a bookmark at once", async () => {
    using empty = server.watch();
    assert.deepEqual(await empty.take(1), ["bookmark"]);
    for (const name of ["a", "b"]) await server.create(name);
    using whole = server.watch();
    assert.deepEqual(await whole.take(3), ["added a", "added b", "bookmark"]);
    assert.equal(whole.revision, await server.revision());
    using from = server.watch({ fromRevision: whole.revision });
    assert.deepEqual([...await from.take(1), from.revision], ["bookmark", whole.revision]);
    await server.relabel("a", { n: "1" });
    for (const watch of [empty, whole, from]) {
      const seen = watch === empty ? await watch.take(3) : await watch.take(1);
      assert.equal(seen.at(-1), "modified a 1");
    }
  });

  it("tell what enters and leaves a selector's scope, and nothing of the rest", async () => {
    await server.spaces.createNamespace({ ...ONCE, namespace: { metadata: wholeMachine({ name: "lab" }).metadata } });
    using red = server.watch({ labelSelector: "colour=red" });
    using halted = server.watch({ fieldSelector: "spec.run_strategy=RUN_STRATEGY_HALTED" });
    using lab = server.watch({ namespace: "lab" });
    for (const watch of [red, halted, lab]) assert.equal(await watch.next(), "bookmark");
    await server.create("web", { colour: "blue" });
    await server.create("in-lab", { colour: "blue" }, "lab");
    await server.relabel("web", { colour: "red" });
    await server.relabel("web", { colour: "red", n: "1" });
    await server.relabel("web", { colour: "blue" });
    await server.relabel("web", { colour: "red", n: "2" });
    await server.remove("web");
    assert.deepEqual(await red.take(6), [
      "added web", "modified web 1", "deleted web out of scope", "added web 2", "modified web 2", "deleted web 2",
    ]);
    assert.deepEqual(await lab.take(1), ["added in-lab"]);
    await server.create("late");
    const wanted = await server.revision();
    server.clock.pass(BOOKMARK_EVERY_MS);
    while (halted.revision !== wanted) assert.equal(await halted.next(), "bookmark");
  });

  it("resumed from any revision that was seen, miss nothing and repeat nothing", async () => {
    const from = await server.revision();
    await server.create("web");
    for (let n = 1; n <= 30; n += 1) await server.relabel("web", { n: String(n) });
    const expected = ["added web", ...Array.from({ length: 30 }, (_, i) => `modified web ${i + 1}`)];
    await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 3, maxLength: 40 }), async (pieces) => {
      let at = from;
      const seen: string[] = [];
      for (const piece of pieces) {
        if (seen.length === expected.length) break;
        using watch = server.watch({ fromRevision: at });
        for (let i = 0; i < piece && seen.length < expected.length;) {
          const event = await watch.next();
          at = watch.revision;
          if (event !== "bookmark") i = seen.push(event);
        }
      }
      assert.deepEqual(seen, expected.slice(0, seen.length));
    }), { numRuns: 25 });
  });

  it("refuse what is compacted and name the oldest revision that is kept, from which a watch goes on", async () => {
    const first = await server.revision();
    for (let n = 1; n <= 10; n += 1) await server.create(`web-${n}`);
    const middle = await server.revision();
    using standing = server.watch({ fromRevision: middle });
    assert.equal(await standing.next(), "bookmark");
    await server.create("last");
    await server.store.compact(middle);
    const { code, reason, metadata } = await refusal(server.watch({ fromRevision: first }).next());
    assert.deepEqual([code, reason, metadata["oldest"]], ["OUT_OF_RANGE", "REVISION_COMPACTED", middle]);
    assert.equal(await standing.next(), "added last", "who was not behind is not cut");
    using again = server.watch({ fromRevision: metadata["oldest"]! });
    assert.deepEqual(await again.take(2), ["bookmark", "added last"]);
    const { code: gone } = await refusal(server.machines.listVirtualMachines({ ...EVERYTHING, pageToken: "" }).then(() => server.watch({ fromRevision: "test.1" }).next()));
    assert.equal(gone, "OUT_OF_RANGE");
  });

  it("are served to two hundred, each the same in the same order, and leave nothing behind", async () => {
    await server.create("web");
    const from = await server.revision();
    const watches = Array.from({ length: 200 }, () => server.watch({ fromRevision: from }));
    assert.deepEqual([...new Set(await Promise.all(watches.map((watch) => watch.next())))], ["bookmark"]);
    for (let n = 1; n <= 20; n += 1) await server.relabel("web", { n: String(n) });
    const seen = await Promise.all(watches.map((watch) => watch.take(20)));
    const expected = Array.from({ length: 20 }, (_, i) => `modified web ${i + 1}`);
    for (const each of seen) assert.deepEqual(each, expected);
    for (const watch of watches) watch[Symbol.dispose]();
    assert.equal((await server.relabel("web", { n: "over" })).virtualMachine!.metadata!.labels["n"], "over");
  });
});
