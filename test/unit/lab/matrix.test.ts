import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GUEST_LOG_OFFSET } from "../../lab/guest.ts";
import { missingOf, sorted, tableOf } from "../../lab/matrix/report.ts";
import type { Matrix } from "../../lab/matrix/report.ts";
import { cells, cellsNamed, endsOf, everyCombination, exclusionOf, FAULTS, nameOf, PARTIES, PHASES } from "../../lab/matrix/table.ts";
import { waitFor } from "../../lab/process.ts";
import { DiskLog, faultsOfLog, Watch } from "../../lab/matrix/watch.ts";

describe("kill matrix: its table", () => {
  it("has every phase, party and fault, as a cell or with why there is none", () => {
    assert.equal(new Set(everyCombination.map(nameOf)).size, PHASES.length * PARTIES.length * FAULTS.length);
    for (const cell of everyCombination) assert.ok(cells.includes(cell) !== (exclusionOf(cell) !== undefined), nameOf(cell));
    for (const party of PARTIES) assert.ok(cells.some((cell) => cell.party === party), `${party} is lost somewhere`);
  });

  it("says of every cell how it may end, and after the handoff nothing but Succeeded", () => {
    for (const cell of cells) assert.ok(endsOf(cell).ends.length > 0, nameOf(cell));
    for (const cell of cells.filter(({ phase }) => phase === "Finalizing")) assert.deepEqual(endsOf(cell).ends, ["Succeeded"]);
  });

  it("lets a guest be booted again only where the one that had it was killed", () => {
    for (const cell of cells.filter((candidate) => endsOf(candidate).restart)) {
      assert.equal(cell.fault, "kill");
      assert.match(cell.party, cell.phase === "Finalizing" ? /^target-(qemu|host)$/ : /^source-(qemu|host)$/, nameOf(cell));
    }
  });

  it("finds cells by name, and refuses a name that fits none", () => {
    assert.deepEqual(cellsNamed("Running/door/kill").map(nameOf), ["Running/door/kill"]);
    assert.equal(cellsNamed("Running/*/kill,Running/door/kill").length, 14, "each once");
    assert.throws(() => cellsNamed("Scheduling/door/kill"), /No cell is named/);
  });
});

describe("kill matrix: its record", () => {
  const whole: Matrix = Object.fromEntries(cells.map((cell) => [nameOf(cell), { passed: true, end: endsOf(cell).ends[0]!, seconds: 1, commit: "c" }]));

  it("misses a cell that was not run, and one that failed", () => {
    assert.deepEqual(missingOf(whole), []);
    const { "Running/door/kill": _, ...without } = whole;
    assert.deepEqual(missingOf(without), ["Running/door/kill was not run"]);
    assert.deepEqual(missingOf({ ...whole, "Running/door/kill": { passed: false, end: "", seconds: 1, commit: "c", fault: "two" } }), ["Running/door/kill failed: two"]);
  });

  it("keeps the table's order, and shows what is not there", () => {
    assert.deepEqual(Object.keys(sorted(Object.fromEntries(Object.entries(whole).toReversed()))), cells.map(nameOf));
    assert.match(tableOf({}), /\| door \| – \| – \| kill: not run<br>stop: not run \|/);
    assert.match(tableOf(whole), /\| source-qemu \|.*Failed GUEST_LOST, booted again/);
  });
});

describe("kill matrix: the guest's log", () => {
  const entry = (number: number, count = number, { boot = "0", uptime = 100 + number } = {}): string =>
    `drover-log entry=${number} boot=${boot.repeat(8)}-0000-0000-0000-000000000000 count=${count} uptime=${uptime}.5`;

  it("is right when entries and counts go on by one", () => {
    assert.deepEqual(faultsOfLog([entry(7), entry(8), entry(9)], { from: 7, restart: false }), []);
  });

  it("shows a gap, a fork, a clock that went back and a torn sector", () => {
    for (const second of [entry(9), entry(8, 9), entry(8, 8, { uptime: 107 }), "drover-log entry=8"]) {
      assert.equal(faultsOfLog([entry(7), second], { from: 7, restart: false }).length, 1, second);
    }
  });

  it("takes one more boot where that may be, from its first count on, and no third", () => {
    const again = [entry(7), entry(8, 1, { boot: "1", uptime: 3 }), entry(9, 2, { boot: "1", uptime: 4 })];
    assert.deepEqual(faultsOfLog(again, { from: 7, restart: true }), []);
    assert.match(faultsOfLog(again, { from: 7, restart: false }).join(), /booted again/);
    assert.match(faultsOfLog([...again, entry(10, 9)], { from: 7, restart: true }).join(), /goes on in the middle/);
  });

  it("shows an entry that is written over, while it happens", async () => {
    const directory = mkdtempSync(join(tmpdir(), "drover-matrix-"));
    const file = openSync(join(directory, "disk.raw"), "w");
    const write = (number: number, text: string) => writeSync(file, text.padEnd(511).concat("\n"), GUEST_LOG_OFFSET + number * 512);
    try {
      for (let number = 0; number < 100; number += 1) write(number, entry(number));
      const log = new DiskLog(join(directory, "disk.raw"));
      assert.equal(log.read().length, 100);
      await using watch = new Watch({ hosts: [], uuid: "", log });
      write(100, entry(100));
      await waitFor("the entry to be seen", () => watch.written === 101 || undefined);
      write(100, entry(100, 100, { uptime: 300 }));
      await waitFor("the fork to be seen", () => watch.faults.length === 1 || undefined);
      assert.match((await watch.end({ restart: false })).join(), /sector 100 was .* and became/);
    } finally {
      closeSync(file);
      rmSync(directory, { recursive: true });
    }
  });
});
