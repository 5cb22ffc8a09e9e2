/** Words for tests of a store: short writes, whole watches, random writers, and the six promises of a watch. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { formatRevision, numberOf } from "../../api-server/store/revision.ts";
import { type Bookmark, type Change, Conflict, type Journal, type Revision, type Store, type Stored } from "../../api-server/store/store.ts";

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);
export const put = (store: Store, key: string, value: string, expected: Revision | null = null): Promise<Stored> =>
  store.commit({ key, expected, value: bytes(value) });
export const start = (store: Store): Revision => formatRevision(store.identity.incarnation, 0);
export const journal = (requestId: string, more: Partial<Journal> = {}): Journal => ({
  requestId,
  bodyHash: "hash",
  rpc: "/drover.v1.VirtualMachineService/StartVirtualMachine",
  subject: "alice",
  key: "vm/a",
  before: "",
  atMs: 1_000,
  ...more,
});

/** Reads a watch until it has told everything up to `until`. */
export async function watchUntil(store: Store, prefix: string, range: { from: Revision; until: Revision }): Promise<(Change | Bookmark)[]> {
  const seen: (Change | Bookmark)[] = [];
  const number = (revision: Revision) => numberOf(revision, store.identity.incarnation)!;
  for await (const message of store.watch(prefix, range.from, new AbortController().signal)) {
    seen.push(message);
    if (message.type === "bookmark" && number(message.revision) >= number(range.until)) break;
  }
  return seen;
}
export const changesOf = (messages: (Change | Bookmark)[]): Change[] => messages.filter((message) => message.type !== "bookmark");

type Step = { key: number; remove: boolean; size: number };
export const writes = fc.array(
  fc.record({ key: fc.nat(5), remove: fc.boolean(), size: fc.nat(40) }),
  { minLength: 1, maxLength: 25 },
);

/** Writes each step over what it reads, and takes a lost race as it comes. */
export async function runWriter(store: Store, steps: Step[], name: string): Promise<Stored[]> {
  const acknowledged: Stored[] = [];
  for (const [index, { key, remove, size }] of steps.entries()) {
    const path = `${key % 2 === 0 ? "even" : "odd"}/${key}`;
    const read = await store.get(path);
    const value = remove && read ? null : bytes(`${name}.${index}`.padEnd(size, "."));
    const written = store.commit({ key: path, expected: read?.revision ?? null, value });
    await written.then((stored) => acknowledged.push(stored), (error: unknown) => assert.ok(error instanceof Conflict));
  }
  return acknowledged;
}

/** The six promises of a watch, checked against the log as it came to be. */
export async function checkWatches(store: Store, writers: Step[][], resumeAt: number): Promise<void> {
  const number = (revision: Revision) => numberOf(revision, store.identity.incarnation)!;
  const stop = new AbortController();
  const live: (Change | Bookmark)[] = [];
  const following = (async () => {
    for await (const message of store.watch("", start(store), stop.signal)) live.push(message);
  })().catch(() => undefined);
  const acknowledged = (await Promise.all(writers.map((steps, index) => runWriter(store, steps, `w${index}`)))).flat();
  const head = await store.head();
  const messages = await watchUntil(store, "", { from: start(store), until: head });
  const log = changesOf(messages);

  const numbers = log.map((change) => number(change.revision));
  assert.deepEqual(numbers, numbers.map((_, index) => index + 1), "ordered, unique, and without a gap");
  assert.deepEqual(new Set(acknowledged.map(({ revision }) => revision)), new Set(log.map(({ revision }) => revision)), "reliable");
  const state = new Map<string, Stored>();
  for (const change of log) {
    const { key, revision } = change;
    assert.deepEqual(change.previous, state.get(key)?.value, "each change says what it replaced");
    if (change.type === "put") state.set(key, { key, value: change.value, revision });
    else state.delete(key);
  }
  const byKey = [...state.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  assert.deepEqual((await store.list("")).items, byKey, "atomic: the changes add up to what stands");

  const from = formatRevision(store.identity.incarnation, Math.min(resumeAt, number(head)));
  for (const prefix of ["", "even/", "odd/5"]) {
    const resumed = await watchUntil(store, prefix, { from, until: head });
    const rest = log.filter((change) => change.key.startsWith(prefix) && number(change.revision) > number(from));
    assert.deepEqual(changesOf(resumed), rest, "resumable");
    checkBookmarks(resumed, number);
  }
  while (!live.some((message) => message.type === "bookmark" && message.revision === head)) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("done"));
  await following;
  assert.deepEqual(changesOf(live), log, "one that follows sees what one that comes later sees");
  checkBookmarks(live, number);
}

/** Bookmarkable: no change comes later that is not newer than the bookmark. */
function checkBookmarks(messages: (Change | Bookmark)[], number: (revision: Revision) => number): void {
  let told = -1;
  for (const { type, revision } of messages) {
    if (type === "bookmark") assert.ok(number(revision) >= told);
    else assert.ok(number(revision) > told);
    told = number(revision);
  }
}
