/** What every adapter of the Store port owes the audit. An adapter's test file calls `auditContract` with its way to open one. */
import assert from "node:assert/strict";
import { verifyAudit } from "../../api-server/audit/verify.ts";
import { type Act, type AuditFilter, entryOf, hashOf } from "../../api-server/store/audit.ts";
import { Conflict, RequestReplayed, type Store } from "../../api-server/store/store.ts";
import type { OpenForTest } from "./store.ts";
import { bytes, journal, put } from "./store-steps.ts";

export const act = (more: Partial<Act> = {}): Act => ({
  atMs: 1_000, subject: "user/alice", role: "user", source: "127.0.0.1:1", rpc: "/drover.v1.VirtualMachineService/StartVirtualMachine",
  object: { kind: "VirtualMachine", namespace: "default", name: "web", uid: "u" }, requestId: "r", before: "", decision: "allowed", code: "OK", reason: "",
  count: 1, paths: [], ...more,
});

export const verdict = (store: Store, noted?: { seq: number; hash: string }) => verifyAudit(store, { noted, signal: new AbortController().signal });
const write = (store: Store, key: string, audit: Act) => store.commit({ key, expected: null, value: bytes(key), audit });
const seqs = (rows: readonly { seq: number }[]) => rows.map(({ seq }) => seq);

export function auditContract(name: string, open: OpenForTest): void {
  describe(`store contract, audit: ${name}`, () => {
    let store: Store;
    beforeEach(async () => void (store = await open()));
    afterEach(() => store.close());

    const all = async (filter?: AuditFilter) => (await store.audit({ after: 0, limit: 1_000, ...(filter && { filter }) })).rows.map(({ line }) => entryOf(line));

    it("has the entry of every change that says whose act it is, with both revisions, and none of a change that came to nothing", async () => {
      const first = await write(store, "vm/a", act({ requestId: "1" }));
      await assert.rejects(write(store, "vm/a", act({ requestId: "lost" })), Conflict);
      const request = { journal: journal("id"), audit: act({ requestId: "2", before: first.revision }) };
      const second = await store.commit({ key: "vm/a", expected: first.revision, value: bytes("2"), ...request });
      await assert.rejects(store.commit({ key: "vm/a", expected: second.revision, value: bytes("3"), ...request }), RequestReplayed);
      await put(store, "vm/b", "nobody's");
      const gone = await store.commit({ key: "vm/a", expected: second.revision, value: null, audit: act({ requestId: "3", before: second.revision }) });
      assert.deepEqual((await all()).map(({ seq, requestId, before, after }) => [seq, requestId, before, after]), [
        [1, "1", "", first.revision], [2, "2", first.revision, second.revision], [3, "3", second.revision, gone.revision],
      ]);
    });

    it("gives back what was told, in lines that hold the hash of the one before", async () => {
      const odd = act({ subject: "user/\n\u001B[2J\u202Eü\u2028", decision: "denied", code: "PERMISSION_DENIED", reason: "X", count: 7, paths: ["spec.a"], atMs: 1_800_000_000_123 });
      await store.appendAudit([act(), odd]);
      const { rows, begin, head } = await store.audit({ after: 0, limit: 10 });
      const [first, second] = rows.map(({ line }) => entryOf(line));
      const { seq, after, previous, hash, line, ...told } = second!;
      assert.deepEqual(told, odd);
      assert.deepEqual([seq, after, first!.previous, previous, hash, head], [2, "", begin.hash, hashOf(rows[0]!.line), hashOf(line), { seq: 2, hash }]);
      assert.match(line, /^[\x20-\x7eü]+$/);
    });

    it("keeps one chain while many write at once", async () => {
      await Promise.all([
        ...Array.from({ length: 60 }, (_, i) => write(store, `vm/${i}`, act({ requestId: `${i}` }))),
        ...Array.from({ length: 20 }, () => store.appendAudit([act({ decision: "denied" }), act({ decision: "failed" })])),
      ]);
      const { fault, entries } = await verdict(store);
      assert.deepEqual([fault, entries], [undefined, 100]);
      const revisions = (await all({ decisions: ["allowed"] })).map(({ after }) => Number(after.split(".")[1]));
      assert.deepEqual(revisions, Array.from({ length: 60 }, (_, i) => i + 1), "in the order of commits");
    });

    it("finds by each of the filters, both ways, in stretches", async () => {
      const hour = 3_600_000;
      await store.appendAudit([
        act({ subject: "user/bob", atMs: 0 }),
        act({ rpc: "/drover.v1.NodeService/CordonNode", object: { kind: "Node", namespace: "", name: "a", uid: "" }, atMs: 10 * hour }),
        act({ decision: "denied", atMs: 11 * hour }),
        act({ object: { kind: "VirtualMachine", namespace: "other", name: "web", uid: "" }, atMs: 12 * hour }),
      ]);
      const found = async (filter: AuditFilter) => seqs(await all(filter));
      assert.deepEqual(await found({ subject: "user/bob" }), [1]);
      assert.deepEqual(await found({ rpc: "CordonNode" }), [2]);
      assert.deepEqual(await found({ rpc: "Node" }), []);
      assert.deepEqual(await found({ rpc: "/drover.v1.NodeService/CordonNode", kind: "Node", name: "a" }), [2]);
      assert.deepEqual(await found({ decisions: ["denied", "failed"] }), [3]);
      assert.deepEqual(await found({ namespace: "other" }), [4]);
      assert.deepEqual(await found({ fromMs: 10 * hour, toMs: 12 * hour }), [2, 3]);
      const down = await store.audit({ before: Number.MAX_SAFE_INTEGER, limit: 9, filter: { fromMs: 11.5 * hour } });
      assert.deepEqual([seqs(down.rows), down.reached, down.more], [[4], 2, false], "it does not go on to the beginning");
      const page = await store.audit({ before: 4, limit: 2 });
      assert.deepEqual([seqs(page.rows), page.reached, page.more], [[3, 2], 2, true]);
    });

    it("goes on from what it forgot", async () => {
      await store.appendAudit([act(), act(), act()]);
      const [, second] = await all();
      await store.expireAudit({ seq: second!.seq, hash: second!.hash });
      await store.appendAudit([act()]);
      assert.deepEqual(seqs(await all()), [3, 4]);
      const { fault, entries, begin } = await verdict(store);
      assert.deepEqual([fault, entries, begin], [undefined, 2, { seq: 2, hash: second!.hash }]);
      await store.expireAudit({ seq: 99, hash: second!.hash });
      assert.equal((await verdict(store)).entries, 2);
    });
  });
}
