/** What is forgotten, and when: superseded revisions, request ids, old events, and what others find to put away. */
import { type Clock, every } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { events } from "../kinds/event.ts";
import { keyOf } from "../kinds/kind.ts";
import type { Call, Objects } from "../objects.ts";
import { formatRevision, numberOf } from "../store/revision.ts";
import type { Revision, Store } from "../store/store.ts";
import { lastMs } from "./events.ts";

const REVISION_AGE_MS_MAX = 15 * 60_000;
const REVISIONS_MAX = 200_000;
const JOURNAL_AGE_MS_MAX = 24 * 3_600_000;
const EVENT_AGE_MS_MAX = 7 * 24 * 3_600_000;
const COMPACT_EVERY_MS = 60_000;
/** Also how long anything else waits that has to be put away. */
const EXPIRE_EVERY_MS = 3_600_000;

type Sample = { atMs: number; number: number };

/** Where the log stood when, by this process's clock: what was the head long enough ago may go. */
export class RevisionAges {
  #samples: Sample[] = [];

  /** Notes the head and answers the number up to which the log may be forgotten; undefined when that is nothing new. */
  mark(head: number, nowMs: number): number | undefined {
    const old = this.#samples.findLast(({ atMs }) => nowMs - atMs >= REVISION_AGE_MS_MAX)?.number ?? 0;
    const number = Math.max(old, head - REVISIONS_MAX);
    this.#samples = [...this.#samples.filter(({ atMs }) => nowMs - atMs < REVISION_AGE_MS_MAX), { atMs: nowMs, number: head }];
    return number > 0 ? number : undefined;
  }
}

export type RetentionParts = { store: Store; objects: Objects; clock: Clock; log: Logger; signal: AbortSignal; /** More to do at the start and every hour. */ chores?: readonly Chore[] };
export type Chore = (signal: AbortSignal) => Promise<void>;

/** Runs until the signal aborts. */
export async function keepTidy({ store, objects, clock, log, signal, chores = [] }: RetentionParts): Promise<void> {
  const ages = new RevisionAges();
  const onError = (error: unknown) => log.error({ error }, "retention failed");
  const compact = async () => {
    const mark = ages.mark(headNumber(store, await store.head()), clock.monotonicMs());
    if (mark !== undefined) await store.compact(formatRevision(store.identity.incarnation, mark));
  };
  const expire = async () => {
    const nowMs = clock.now().getTime();
    await store.expireJournal(nowMs - JOURNAL_AGE_MS_MAX);
    await expireEvents({ store, objects, nowMs, signal });
  };
  await Promise.all([
    every(clock, COMPACT_EVERY_MS, { run: compact, signal, onError }),
    every(clock, EXPIRE_EVERY_MS, { run: expire, signal, onError }),
    ...chores.map((chore) => every(clock, EXPIRE_EVERY_MS, { run: () => chore(signal), signal, onError })),
  ]);
}

function headNumber(store: Store, head: Revision): number {
  return numberOf(head, store.identity.incarnation) ?? 0;
}

type Expiry = { store: Store; objects: Objects; nowMs: number; signal: AbortSignal };

async function expireEvents({ store, objects, nowMs, signal }: Expiry): Promise<void> {
  const caller = { subject: "api-server", role: "control-plane" } as const;
  const call: Call = { caller, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal };
  for (let after: string | undefined; ; ) {
    const page = await store.list(`${events.plural}/`, { limit: 500, ...(after !== undefined && { after }) });
    const read = page.items.map(({ value }) => events.codec.decode(value));
    for (const event of read.filter((each) => nowMs - lastMs(each) > EVENT_AGE_MS_MAX)) await objects.remove(events, keyOf(event), call);
    if (page.next === undefined) return;
    after = page.next;
  }
}
