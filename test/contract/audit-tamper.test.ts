/** Whoever changes the store's file behind the server's back: each way of it shows. On a real file, by raw SQL. */
import assert from "node:assert/strict";
import { cpSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { beginOf, entryOf, seal } from "../../api-server/store/audit.ts";
import { act, verdict } from "./store-audit.ts";
import { makePlace, openSqlite, type Place } from "./store-places.ts";
import { bytes, put, text } from "./store-steps.ts";

describe("an audit that was changed in the file", () => {
  let origin: Place;
  let place: Place;
  before(async () => {
    origin = makePlace();
    await using store = await openSqlite(origin.path);
    for (let i = 1; i <= 6; i += 1) await store.commit({ key: `vm/${i}`, expected: null, value: bytes("x"), audit: act({ requestId: `r${i}` }) });
  });
  after(() => origin[Symbol.dispose]());
  beforeEach(() => {
    place = makePlace();
    cpSync(origin.directory, place.directory, { recursive: true });
  });
  afterEach(() => place[Symbol.dispose]());

  const sql = (...statements: string[]) => {
    const database = new DatabaseSync(place.path);
    for (const statement of statements) database.exec(statement);
    database.close();
  };
  const found = async (noted?: { seq: number; hash: string }) => {
    await using store = await openSqlite(place.path, { create: false });
    const { fault, entries } = await verdict(store, noted);
    return [fault?.seq, fault?.message ?? "", entries] as const;
  };

  const WAYS: [string, string[], number, RegExp][] = [
    ["a row deleted", ["DELETE FROM audit WHERE seq = 3"], 3, /^Entry 3 is missing$/],
    ["several rows deleted", ["DELETE FROM audit WHERE seq IN (2, 3, 4)"], 2, /^Entries 2 to 4 are missing$/],
    ["the oldest deleted", ["DELETE FROM audit WHERE seq = 1"], 1, /^Entry 1 is missing$/],
    ["the end cut off", ["DELETE FROM audit WHERE seq > 4"], 5, /^Entries 5 to 6 are missing at the end$/],
    ["a row edited", ["UPDATE audit SET line = replace(line, 'alice', 'mallory') WHERE seq = 3"], 4, /^Entry 4 does not follow from the one before it/],
    ["the newest edited", ["UPDATE audit SET line = replace(line, 'alice', 'mallory') WHERE seq = 6"], 6, /^Entry 6 was changed, the newest$/],
    ["two exchanged", ["UPDATE audit SET seq = 99 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 99"], 3, /^Entry 3 is not the one that was written there$/],
    ["the gap closed", ["DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"], 3, /^Entry 3 is not the one/],
    ["a row made unreadable", ["UPDATE audit SET line = 'x' WHERE seq = 2"], 2, /^Entry 2 is not the one/],
    ["one put in behind the end", ["INSERT INTO audit SELECT 7, line FROM audit WHERE seq = 6"], 7, /^Entry 7 is not the one/],
    ["all deleted", ["DELETE FROM audit"], 1, /^Entries 1 to 6 are missing at the end$/],
  ];
  for (const [name, statements, seq, words] of WAYS) {
    it(`shows ${name}`, async () => {
      sql(...statements);
      const [at, message] = await found();
      assert.equal(at, seq, message);
      assert.match(message, words);
    });
  }

  it("goes on showing it when the server has written since", async () => {
    sql("DELETE FROM audit WHERE seq > 4");
    await using store = await openSqlite(place.path, { create: false });
    await store.appendAudit([act()]);
    assert.match((await verdict(store)).fault?.message ?? "", /^Entries 5 to 6 are missing$/);
  });

  it("shows a chain that was made anew against a head that was noted before, and one that is as it was does not", async () => {
    const noted = await headOf(place.path);
    assert.deepEqual((await found(noted)).slice(1), ["", 6]);
    remake(place.path);
    assert.deepEqual((await found()).slice(1), ["", 5], "by itself it looks whole");
    assert.match((await found(noted))[1], /^Entries 6 to 6 were there when the head was noted, and are gone$/);
    assert.match((await found({ ...noted, seq: 5 }))[1], /^Entry 5 is not the one that was noted/);
  });

  it("takes up a store of the version before, which had no audit", async () => {
    sql("DROP TABLE audit", "DELETE FROM meta WHERE name LIKE 'audit%'", "PRAGMA user_version = 1");
    await using store = await openSqlite(place.path, { create: false });
    assert.equal(text((await store.get("vm/6"))?.value), "x");
    await put(store, "vm/7", "y");
    await store.appendAudit([act()]);
    assert.deepEqual(await verdict(store).then(({ fault, entries }) => [fault, entries]), [undefined, 1]);
  });

  it("is in files that nobody else can read", async () => {
    await using store = await openSqlite(place.path, { create: false });
    await put(store, "a", "1");
    for (const suffix of ["", "-wal", "-shm"]) assert.equal(statSync(place.path + suffix).mode & 0o777, 0o600, suffix);
  });
});

async function headOf(path: string): Promise<{ seq: number; hash: string }> {
  await using store = await openSqlite(path, { create: false });
  return (await store.audit({ after: 0, limit: 0 })).head;
}

/** As somebody would who knows how it is made: all but entry 3, with every hash and both ends put right. */
function remake(path: string): void {
  const database = new DatabaseSync(path);
  const kept = (database.prepare("SELECT line FROM audit WHERE seq <> 3 ORDER BY seq").all() as { line: string }[]).map(({ line }) => entryOf(line));
  database.exec("DELETE FROM audit");
  let mark = beginOf(String(database.prepare("SELECT value FROM meta WHERE name = 'store_id'").get()?.["value"]));
  for (const entry of kept) {
    const { seq, line, mark: next } = seal(mark, entry, entry.after);
    database.prepare("INSERT INTO audit (seq, line) VALUES (?, ?)").run(seq, line);
    mark = next;
  }
  database.prepare("UPDATE meta SET value = ? WHERE name = 'audit_head'").run(`${mark.seq} ${mark.hash}`);
  database.close();
}
