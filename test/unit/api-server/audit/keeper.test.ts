/** Exporting, forgetting and looking through the audit, on virtual time and real files. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Event } from "../../../../gen/drover/v1/event.ts";
import { silentLog } from "../../../../lib/log.ts";
import { ExportDirectory } from "../../../../api-server/audit/export.ts";
import { AuditKeeper } from "../../../../api-server/audit/keeper.ts";
import { hashOf } from "../../../../api-server/store/audit.ts";
import { MemoryStore } from "../../../../api-server/store/memory.ts";
import { act, verdict } from "../../../contract/store-audit.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const DAY_MS = 86_400_000;

describe("the audit's keeper", () => {
  let directory = "";
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "drover-audit-"))));
  afterEach(() => rmSync(directory, { recursive: true }));

  function keeping(exported: boolean) {
    const clock = new ManualClock();
    const store = new MemoryStore({ identity: { storeId: "s", incarnation: "i" } });
    const told: Event[] = [];
    const exports = exported ? new ExportDirectory(join(directory, "audit")) : undefined;
    const keeper = new AuditKeeper({ store, clock, log: silentLog, exports, tell: async (event) => told.push(event) });
    const did = (count: number) => store.appendAudit(Array.from({ length: count }, () => act({ atMs: clock.now().getTime() })));
    return { clock, store, told, did, tidy: () => keeper.tidy(new AbortController().signal) };
  }
  const files = () => readdirSync(join(directory, "audit")).filter((name) => name.endsWith(".jsonl")).sort();
  const lines = () => files().flatMap((name) => readFileSync(join(directory, "audit", name), "utf8").trimEnd().split("\n"));

  it("exports a file for each day, whose lines hold each other's hashes, and nothing twice", async () => {
    const { clock, did, tidy, store } = keeping(true);
    await did(3);
    await tidy();
    clock.pass(DAY_MS);
    await did(2);
    await tidy();
    await tidy();
    assert.equal(files().length, 2);
    const all = lines().map((line) => ({ line, ...(JSON.parse(line) as { seq: number; previous: string }) }));
    assert.deepEqual(all.map(({ seq }) => seq), [1, 2, 3, 4, 5]);
    for (const [i, { previous }] of all.entries()) if (i > 0) assert.equal(previous, hashOf(all[i - 1]!.line));
    assert.equal((await store.audit({ after: 0, limit: 0 })).head.hash, hashOf(all.at(-1)!.line));
    for (const name of files()) assert.equal(statSync(join(directory, "audit", name)).mode & 0o777, 0o600);
  });

  it("forgets what is older than 90 days and exported, and the chain holds", async () => {
    const { clock, did, tidy, store, told } = keeping(true);
    await did(4);
    clock.pass(60 * DAY_MS);
    await did(2);
    clock.pass(31 * DAY_MS);
    await tidy();
    const { begin, head } = await store.audit({ after: 0, limit: 0 });
    assert.deepEqual([begin.seq, head.seq, lines().length, told], [4, 6, 6, []]);
    assert.equal((await verdict(store)).fault, undefined);
  });

  it("forgets nothing that is exported nowhere, and says so", async () => {
    const { clock, did, tidy, store, told } = keeping(false);
    await did(4);
    clock.pass(89 * DAY_MS);
    await tidy();
    assert.deepEqual(told, []);
    clock.pass(2 * DAY_MS);
    await tidy();
    assert.deepEqual([(await store.audit({ after: 0, limit: 9 })).rows.length, told.map(({ reason }) => reason)], [4, ["AuditNotExported"]]);
  });

  it("tells of a broken chain", async () => {
    const { did, tidy, told, store } = keeping(false);
    await did(3);
    await store.expireAudit({ seq: 2, hash: hashOf("another line") });
    await tidy();
    assert.deepEqual(told.map(({ reason }) => reason), ["AuditChainBroken"]);
  });
});
