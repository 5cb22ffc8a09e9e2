/** T17: a thousand watchers that read nothing cost little, delay nobody who reads, and nobody may have them all. */
import assert from "node:assert/strict";
import { Namespace, NamespaceServiceDefinition, WatchNamespacesRequest } from "../../gen/drover/v1/namespace.ts";
import { type ClientTls, connect, type Connection } from "../../lib/client.ts";
import { delay, systemClock } from "../../lib/clock.ts";
import { refusal } from "../contract/api-process.ts";
import { WATCH } from "./attacks/calls.ts";
import { callHeaders, END_HEADERS, frame, message } from "./attacks/frames.ts";
import { openHttp2, type RawConnection } from "./attacks/raw-connection.ts";
import { startVictim } from "./attacks/victim.ts";
import type { Victim } from "./attacks/victim.ts";

const USERS = 4;
const CONNECTIONS = 5;
const WATCHES = 50;
const CHANGES = 150;
const NOTE_BYTES = 60_000;
/** One change for each watcher, and what the runtime keeps; together they are owed nine gigabytes. */
const GROWTH_BYTES_MAX = 200 << 20;
const DELAY_MEDIAN_MS_MAX = 1_000;
const DELAY_MS_MAX = 5_000;
const STREAMS_MAX = 256;
const OPENING_MS = 3_000;
const ONCE = { requestId: "", validateOnly: false };
const SELECTORS = { labelSelector: "", fieldSelector: "" };

describe("T17: stalled watchers", function () {
  this.timeout(90_000);
  let victim: Victim;
  before(async () => {
    victim = await startVictim();
  });
  after(() => victim?.[Symbol.asyncDispose]());

  /** Opened by frames, with no window for what they answer. */
  async function stalled({ cert, key }: Required<ClientTls>, fromRevision: string): Promise<RawConnection> {
    const connection = await openHttp2({ host: "127.0.0.1", port: victim.ports.public, from: "127.0.0.2", cert, key }, { initialWindow: 0 });
    assert.ok(connection, "was not let in");
    const [head, body] = [callHeaders(WATCH), Buffer.from(WatchNamespacesRequest.encode({ ...SELECTORS, fromRevision }).finish())];
    for (let stream = 1; stream < 2 * WATCHES; stream += 2) {
      await connection.send(Buffer.concat([frame("headers", head, { stream, flags: END_HEADERS }), message(body, { stream })]));
    }
    return connection;
  }

  it("cost little and delay nobody, a thousand of them", async () => {
    using local = connect({ server: `unix://${victim.unix}` });
    using remote = connect({ server: `127.0.0.1:${victim.ports.public}`, tls: victim.good });
    const [admin, reader] = [local.client(NamespaceServiceDefinition), remote.client(NamespaceServiceDefinition)];
    const { namespace } = await admin.createNamespace({ ...ONCE, namespace: Namespace.create({ metadata: { name: "busy" } }) });
    const { revision: fromRevision } = await admin.listNamespaces({ ...SELECTORS, pageSize: 1, pageToken: "" });
    const held: RawConnection[] = [];
    for (let user = 0; user < USERS; user += 1) {
      const tls = await victim.viewer(`stalled-${user}`);
      for (let n = 0; n < CONNECTIONS; n += 1) held.push(await stalled(tls, fromRevision));
    }
    await delay(systemClock, OPENING_MS);
    const sentMs = new Map<string, number>();
    const delaysMs: number[] = [];
    const watching = (async () => {
      for await (const { event } of reader.watchNamespaces({ ...SELECTORS, fromRevision })) {
        if (event?.$case !== "modified") continue;
        delaysMs.push(systemClock.monotonicMs() - sentMs.get(event.value.metadata!.labels["n"]!)!);
        if (delaysMs.length === CHANGES) return;
      }
    })();
    const before = victim.rssBytes();
    for (let n = 0; n < CHANGES; n += 1) {
      const metadata = { ...namespace!.metadata!, resourceVersion: "", labels: { n: String(n) }, annotations: { note: "x".repeat(NOTE_BYTES) } };
      sentMs.set(String(n), systemClock.monotonicMs());
      await admin.updateNamespace({ ...ONCE, namespace: { ...namespace!, metadata }, updateMask: ["metadata.labels", "metadata.annotations"] });
    }
    await watching;
    const grownBytes = victim.rssBytes() - before;
    assert.equal(held.filter(({ isOpen }) => isOpen).length, USERS * CONNECTIONS, "they were there all the time");
    assert.ok(grownBytes < GROWTH_BYTES_MAX, `it grew by ${grownBytes >> 20} MiB`);
    const [medianMs, slowestMs] = [delaysMs.sort((a, b) => a - b)[CHANGES >> 1]!, delaysMs.at(-1)!];
    assert.ok(medianMs < DELAY_MEDIAN_MS_MAX && slowestMs < DELAY_MS_MAX, `changes took ${medianMs.toFixed()} ms, the slowest ${slowestMs.toFixed()} ms`);
    for (const connection of held) connection.close();
  });

  it("are no more than a user may have, who is told when to come back", async () => {
    const greedy = await victim.viewer("greedy");
    const open = (tls: ClientTls) => connect({ server: `127.0.0.1:${victim.ports.public}`, tls });
    // A connection has no more streams than that.
    using first = open(greedy);
    using second = open(greedy);
    using third = open(greedy);
    using other = open(victim.good);
    const ends = new AbortController();
    const nothing = { labelSelector: "there=none", fieldSelector: "", fromRevision: "" };
    const watch = async (connection: Connection) => {
      for await (const { event } of connection.client(NamespaceServiceDefinition).watchNamespaces(nothing, { signal: ends.signal })) return event?.$case;
    };
    const standing = async (connection: Connection) => {
      const events = connection.client(NamespaceServiceDefinition).watchNamespaces(nothing, { signal: ends.signal })[Symbol.asyncIterator]();
      await events.next();
    };
    try {
      await Promise.all(Array.from({ length: STREAMS_MAX }, (_, n) => standing([first, second, third][n % 3]!)));
      const { code, reason, retryMs } = await refusal(watch(first));
      assert.deepEqual([code, reason], ["RESOURCE_EXHAUSTED", "TOO_MANY_OPEN_CALLS"]);
      assert.ok(retryMs > 0);
      assert.equal(await watch(other), "bookmark");
    } finally {
      ends.abort();
    }
  });
});
