/** What only a file can suffer: kills, strangers, damage, a slow or full disk. On real files and real processes. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { numberOf } from "../../api-server/store/revision.ts";
import type { SqliteStore } from "../../api-server/store/sqlite.ts";
import { Conflict, DataLoss, RequestReplayed, StoreFull, StoreInUse, StoreRefused } from "../../api-server/store/store.ts";
import { bytes, changesOf, journal, put, start, text, watchUntil } from "./store-steps.ts";
import { makePlace, openSqlite, type Place } from "./store-places.ts";

/** Long enough to tell a read that waits for it from one that only has to wait for the processor. */
const FSYNC_MS = 1_500;
const WRITER = new URL("./store-writer.ts", import.meta.url).pathname;

describe("sqlite store", () => {
  let place: Place;
  beforeEach(() => void (place = makePlace()));
  afterEach(() => place[Symbol.dispose]());

  describe("after kill -9", () => {
    it("has every acknowledged commit, without a gap, and carries out a retried request once", async () => {
      const acknowledged = new Map<string, { number: number; requestId: string }>();
      for (let run = 0; run < 4; run++) {
        const writer = startWriter(place.path, `run${run}`);
        await writer.opened;
        await pause(100 + 70 * run);
        for (const line of await writer.kill()) {
          const [key, number, requestId] = line.split(" ") as [string, string, string];
          acknowledged.set(key, { number: Number(number), requestId });
        }
      }
      assert.ok(acknowledged.size > 100, `only ${acknowledged.size} commits`);
      await using store = await openSqlite(place.path, { create: false });
      await store.checked;
      const head = await store.head();
      const log = changesOf(await watchUntil(store, "", { from: start(store), until: head }));
      const numbers = log.map((change) => numberOf(change.revision, store.identity.incarnation));
      assert.deepEqual(numbers, numbers.map((_, index) => index + 1));
      for (const [key, { number, requestId }] of acknowledged) {
        assert.equal(log[number - 1]?.key, key);
        assert.equal(text((await store.get(key))?.value)?.startsWith(key), true);
        const retry = store.commit({ key, expected: null, value: bytes("again"), journal: journal(requestId, { key }) });
        await assert.rejects(retry, RequestReplayed);
      }
      assert.equal(await store.head(), head);
    }).timeout(60_000);

    it("needs no clean-up to open again, and is refused while the other process lives", async () => {
      const writer = startWriter(place.path, "run");
      await writer.opened;
      await assert.rejects(openSqlite(place.path), StoreInUse);
      const link = join(place.directory, "link.db");
      symlinkSync(place.path, link);
      await assert.rejects(openSqlite(link), StoreInUse);
      await writer.kill();
      await using store = await openSqlite(link);
      await put(store, "a", "1");
      await assert.rejects(openSqlite(place.path), StoreInUse);
    }).timeout(20_000);
  });

  describe("at open", () => {
    it("makes a store only where it may and where there never was one", async () => {
      await assert.rejects(openSqlite(place.path, { create: false }), StoreRefused);
      await assert.rejects(openSqlite(join(place.directory, "none", "a.db")), StoreRefused);
      assert.deepEqual(readdirSync(place.directory), []);
      await (await openSqlite(place.path)).close();
      rmSync(place.path);
      await assert.rejects(openSqlite(place.path), DataLoss);
      assert.equal(readdirSync(place.directory).includes("drover.db"), false);
    });

    it("begins anew after a crash in the middle of making one", async () => {
      writeFileSync(`${place.path}-new`, "half a fi");
      await using store = await openSqlite(place.path);
      await put(store, "a", "1");
    });

    it("refuses an empty, a foreign, a newer and a cut file, and leaves it as it is", async () => {
      const foreign = new DatabaseSync(join(place.directory, "foreign.db"));
      foreign.exec("CREATE TABLE t (a)");
      foreign.close();
      const newer = join(place.directory, "newer.db");
      await (await openSqlite(newer)).close();
      const database = new DatabaseSync(newer);
      database.exec("PRAGMA user_version = 99");
      database.close();
      const strangers = [Buffer.alloc(0), Buffer.from("hello"), Buffer.alloc(5000, "x"), readFileSync(join(place.directory, "foreign.db")), readFileSync(newer)];
      for (const content of strangers) {
        writeFileSync(place.path, content);
        await assert.rejects(openSqlite(place.path), StoreRefused);
        assert.deepEqual(readFileSync(place.path), content);
      }
    });

    it("refuses another store in the place of the one that was here", async () => {
      await (await openSqlite(place.path)).close();
      const other = join(place.directory, "other.db");
      await (await openSqlite(other)).close();
      copyFileSync(other, place.path);
      await assert.rejects(openSqlite(place.path), StoreRefused);
    });

    it("refuses a killed writer's file whose write-ahead log was taken away", async () => {
      const writer = startWriter(place.path, "run");
      await writer.opened;
      await pause(50);
      await writer.kill();
      renameSync(`${place.path}-wal`, `${place.path}-taken`);
      await assert.rejects(openSqlite(place.path), DataLoss);
      renameSync(`${place.path}-taken`, `${place.path}-wal`);
      await using store = await openSqlite(place.path);
      assert.notEqual(await store.head(), start(store));
    }).timeout(20_000);

    it("refuses a write-ahead log that is damaged before acknowledged commits, and takes one that a crash tore at its end", async () => {
      await using original = await openSqlite(place.path);
      for (let i = 0; i < 60; i++) await put(original, `a/${i}`, "x".repeat(2000));
      const copy = join(place.directory, "copy.db");
      // By another process: this one would drop SQLite's locks by closing the file.
      for (const suffix of ["", "-wal"]) spawnSync("cp", [place.path + suffix, copy + suffix]);
      const whole = readFileSync(`${copy}-wal`);
      for (const at of [10, 40, 5_000, whole.length >> 1, whole.length - 80_000]) {
        const damaged = Buffer.from(whole);
        damaged[at] = damaged[at]! ^ 4;
        writeFileSync(`${copy}-wal`, damaged);
        await assert.rejects(openSqlite(copy), DataLoss, `bit at ${at} of ${whole.length}`);
      }
      writeFileSync(`${copy}-wal`, whole.subarray(0, whole.length - 100));
      await using store = await openSqlite(copy);
      assert.equal((await store.list("")).items.length, 59);
    }).timeout(20_000);

    it("refuses a log whose end is damaged, or that misses a row", async () => {
      await fill(place.path, 50);
      const whole = readFileSync(place.path);
      flip(place.path, "value-49");
      await assert.rejects(openSqlite(place.path), DataLoss);
      writeFileSync(place.path, whole);
      tamper(place.path, "DELETE FROM log WHERE revision = 40");
      await assert.rejects(openSqlite(place.path), DataLoss);
      writeFileSync(place.path, whole);
      truncateSync(place.path, statSync(place.path).size - 3 * 4096);
      await assert.rejects(async () => {
        await using store = await openSqlite(place.path);
        await store.checked;
        await put(store, "x", "1");
      }, DataLoss);
    }).timeout(20_000);

    it("keeps its identity and numbers beyond 32 bits", async () => {
      const first = await openSqlite(place.path);
      await first.close();
      tamper(place.path, `UPDATE meta SET value = ${2 ** 40 + 5} WHERE name IN ('compacted', 'swept')`);
      await using store = await openSqlite(place.path);
      assert.deepEqual(store.identity, first.identity);
      const before = await store.head();
      const { revision } = await put(store, "a", "1");
      assert.equal(numberOf(revision, store.identity.incarnation), 2 ** 40 + 6);
      assert.equal(changesOf(await watchUntil(store, "a", { from: before, until: revision })).length, 1);
    });
  });

  describe("with damage deep in the file", () => {
    it("finds it behind, stops writing, and goes on with what is sound", async () => {
      await fill(place.path, 3_000);
      flip(place.path, "value-17.");
      const found: Error[] = [];
      await using store = await openSqlite(place.path, { onDataLoss: (error) => found.push(error) });
      await store.checked;
      assert.equal(found.length, 1);
      await assert.rejects(put(store, "b", "1"), DataLoss);
      await assert.rejects(store.get("a/17"), DataLoss);
      assert.equal(text((await store.get("a/18"))?.value)?.startsWith("value-18."), true);
    }).timeout(30_000);

    it("finds an index that no longer tells the truth", async () => {
      await fill(place.path, 20);
      tamper(place.path, "DELETE FROM latest WHERE key = 'a/3'");
      await using store = await openSqlite(place.path);
      await store.checked;
      await assert.rejects(put(store, "b", "1"), DataLoss);
    });
  });

  describe("on a bad disk", () => {
    it("serves reads and watches while an fsync takes its time, and shows nothing before it is durable", async () => {
      await using store = await openSqlite(place.path);
      const first = await put(store, "a", "1");
      await store.inject({ commitDelayMs: FSYNC_MS });
      const slow = put(store, "a", "2", first.revision);
      const written = { done: false };
      void slow.then(() => (written.done = true));
      let slowestMs = 0;
      let reads = 0;
      while (!written.done) {
        const begun = performance.now();
        const read = await store.get("a");
        await store.list("");
        slowestMs = Math.max(slowestMs, performance.now() - begun);
        if (!written.done && reads++ < 5) assert.equal(text(read?.value), "1");
        await pause(1);
      }
      assert.ok(reads > 20, `only ${reads} reads while one commit ran`);
      assert.ok(slowestMs < FSYNC_MS / 2, `a read waited ${slowestMs} ms`);
      assert.equal(text((await store.get("a"))?.value), "2");
    }).timeout(10_000);

    it("refuses writes while the disk is full, keeps what it had, and recovers by itself", async () => {
      await using store = await openSqlite(place.path, { limits: { pagesMax: 60 } });
      const kept: { key: string; revision: string }[] = [];
      const filling = async () => {
        for (let i = 0; ; i++) kept.push(await put(store, `a/${i}`, "x".repeat(3000)));
      };
      await assert.rejects(filling(), StoreFull);
      assert.ok(kept.length > 10);
      assert.equal((await store.list("a/")).items.length, kept.length);
      assert.equal(await store.head(), kept.at(-1)!.revision);
      // Small writes still fit; deletions and compaction make room.
      for (const { key, revision } of kept) await store.commit({ key, expected: revision, value: null }).catch((error: unknown) => assert.ok(error instanceof StoreFull));
      await store.compact(await store.head());
      await eventually(() => put(store, "b", "x".repeat(3000)));
    }).timeout(20_000);

    it("ends the process when the disk fails under a write, and has what it acknowledged", async () => {
      // Beyond this size a write fails with EFBIG, which no full disk gives.
      const writer = startWriter(place.path, "run", "trap '' XFSZ; ulimit -f 2000;");
      const code = await writer.exited;
      const lines = writer.lines();
      assert.equal(code, 3);
      assert.match(lines.at(-1)!, /^fatal /);
      await using store = await openSqlite(place.path);
      assert.ok(lines.length > 50);
      for (const line of lines.slice(1, -1)) assert.ok(await store.get(line.split(" ")[0]!), line);
    }).timeout(20_000);
  });

  it("announces one write to 200 watchers, and a race in one batch has one winner", async () => {
    await using store = await openSqlite(place.path);
    const stop = new AbortController();
    const heard = Array.from({ length: 200 }, () => hearOne(store, stop.signal));
    const runs = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => put(store, "vm/a", String(i))));
    assert.equal(runs.filter((run) => run.status === "fulfilled").length, 1);
    assert.ok(runs.every((run) => run.status === "fulfilled" || run.reason instanceof Conflict));
    const values = await Promise.all(heard);
    assert.equal(new Set(values).size, 1, "all read the same bytes, none a copy");
  });

  it("gives room back: ten thousand rewrites of a few objects stay small when compacted", async () => {
    await using store = await openSqlite(place.path);
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 10 }, (_, client) => rewrite(store, `vm/${round}-${client}`, 100)));
      await store.compact(await store.head());
    }
    await eventually(() => assert.equal(rowsIn(place.path), 100));
    await store.close();
    assert.ok(statSync(place.path).size < 4_000_000, `${statSync(place.path).size} bytes`);
  }).timeout(60_000);
});

async function hearOne(store: SqliteStore, signal: AbortSignal): Promise<Uint8Array | undefined> {
  for await (const message of store.watch("vm/", start(store), signal)) if (message.type === "put") return message.value;
  return undefined;
}

async function rewrite(store: SqliteStore, key: string, times: number): Promise<void> {
  let revision: string | null = null;
  for (let i = 0; i < times; i++) ({ revision } = await put(store, key, "x".repeat(1000), revision));
}

async function fill(path: string, count: number): Promise<void> {
  const store = await openSqlite(path);
  await Promise.all(Array.from({ length: count }, (_, i) => put(store, `a/${i}`, `value-${i}.`.padEnd(300, "."))));
  await store.close();
}

/** One bit, in the first place that holds the text. */
function flip(path: string, marker: string): void {
  const content = readFileSync(path);
  const at = content.indexOf(marker);
  assert.ok(at > 0);
  content[at] = content[at]! ^ 1;
  writeFileSync(path, content);
}

function tamper(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

function rowsIn(path: string): number {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return Number(database.prepare("SELECT count(*) AS rows FROM log").get()!["rows"]);
  } finally {
    database.close();
  }
}

function startWriter(path: string, run: string, shell = ""): { opened: Promise<void>; exited: Promise<number | null>; lines: () => string[]; kill: () => Promise<string[]> } {
  const child: ChildProcess = spawn("/bin/sh", ["-c", `${shell} exec "$0" "$@"`, process.execPath, WRITER, path, run], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  const closed = once(child, "close");
  const opened = new Promise<void>((resolve) => {
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
      if (output.includes("open\n")) resolve();
    });
  });
  // A line that the kill cut short was not acknowledged.
  const lines = () => output.split("\n").slice(0, -1);
  const kill = async () => {
    child.kill("SIGKILL");
    await closed;
    return lines().slice(1);
  };
  return { opened, exited: closed.then(() => child.exitCode), lines, kill };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(check: () => unknown): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await check();
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await pause(20);
    }
  }
}
