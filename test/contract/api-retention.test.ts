/**
 * Two days of a small fleet, lived through in seconds: the real records over the real store on a real disk, with the real
 * retention on time that the test moves. What has to be forgotten is forgotten, what lives is right, and the file stays.
 */
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { Event, EventType } from "../../gen/drover/v1/event.ts";
import { MigrationPhase, VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { Namespace } from "../../gen/drover/v1/namespace.ts";
import { VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { silentLog } from "../../lib/log.ts";
import { metaOf } from "../../api-server/kinds/kind.ts";
import { events, migrations, namespaces, virtualMachines } from "../../api-server/kinds/table.ts";
import { recordEvent } from "../../api-server/records/events.ts";
import { StoreObjects } from "../../api-server/records/objects.ts";
import { keepTidy } from "../../api-server/records/retention.ts";
import type { SqliteStore } from "../../api-server/store/sqlite.ts";
import { FINISHED_KEPT } from "../../controller/migration/decide.ts";
import { admin, callBy, countingRandom, machine, rules, schema, user } from "../unit/api-server/fixture.ts";
import { ManualClock } from "../unit/api-server/sessions/manual-clock.ts";
import { makePlace, openSqlite, type Place } from "./store-places.ts";

const MACHINES = 20;
const HOURS = 48;
const STEP_MS = 20 * 60_000;
const STEPS_PER_HOUR = 3_600_000 / STEP_MS;
/** These have something new to say so often that a day of it is more than is kept. */
const TALKATIVE = 4;
const REASONS_PER_STEP = 3;
const EVENTS_KEPT = 200;
/** Pages come and go with the hour's upkeep; a leak of one revision in ten would be far more than this. */
const GROWTH_MAX = 1.1;
/** The log in front of the file is used again and again; this is twice what makes it begin anew. */
const AHEAD_BYTES_MAX = 32 << 20;

const NAMES = Array.from({ length: MACHINES }, (_, i) => `vm-${i}`);

describe("two days of a fleet", function () {
  this.timeout(120_000);
  let place: Place;
  let store: SqliteStore;
  const clock = new ManualClock();
  const stop = new AbortController();
  let tidying: Promise<void>;
  let objects: StoreObjects;
  before(async () => {
    place = makePlace();
    store = await openSqlite(place.path);
    objects = new StoreObjects({ store, schema, rules, clock, random: countingRandom(), stopping: stop.signal });
    await objects.create(namespaces, Namespace.create({ metadata: { name: "default" } }), callBy(admin));
    const chores = [(signal: AbortSignal) => objects.identifiers.tidy(signal)];
    tidying = keepTidy({ store, objects, clock, log: silentLog, signal: stop.signal, chores });
  });
  after(async () => {
    stop.abort();
    await tidying;
    await store.close();
    place[Symbol.dispose]();
  });

  it("forgets what is old, keeps what lives, and does not let the file grow", async () => {
    await Promise.all(NAMES.map((name) => objects.create(virtualMachines, machine({ name }), asked(`create-${name}`))));
    await happened("vm-19", "Ancient");
    await idle(6 * 24);
    const bytes: number[] = [];
    const journaled: number[] = [];
    for (let hour = 1; hour <= HOURS; hour += 1) {
      for (let step = 0; step < STEPS_PER_HOUR; step += 1) await live(hour * STEPS_PER_HOUR + step);
      if (hour % 24 !== 0) continue;
      await idle(1);
      bytes.push(bytesOf(""));
      journaled.push(count("journal"));
    }
    assert.ok(bytes[1]! <= bytes[0]! * GROWTH_MAX, `${bytes[0]} bytes after a day, ${bytes[1]} after two`);
    assert.ok(journaled[1]! <= journaled[0]! * GROWTH_MAX && journaled[1]! > 0, `${journaled.join(", ")} requests`);
    assert.ok(bytesOf("-wal") <= AHEAD_BYTES_MAX, `${bytesOf("-wal")} bytes ahead of the file`);
    await assertRecords();
    // The quarter of an hour that a watch may go back was idle, so that only what lives is left.
    const living = count("latest");
    await eventually(() => assert.ok(count("log") <= living * GROWTH_MAX, `${count("log")} revisions for ${living} objects`));
  });

  const last = HOURS * STEPS_PER_HOUR + STEPS_PER_HOUR - 1;

  async function assertRecords(): Promise<void> {
    const { items: machines } = await objects.list(virtualMachines, { pageSize: 500 });
    const standing = machines.map(({ metadata, status }) => `${metadata!.name} ${metadata!.labels["step"]} ${status!.lastEpoch}`);
    assert.deepEqual(standing.sort(), NAMES.map((name) => `${name} ${last} ${last}`).sort());
    const { items: moves } = await objects.list(migrations, { pageSize: 500 });
    assert.deepEqual(NAMES.map((name) => moves.filter(({ spec }) => spec!.vmiName === name).length), NAMES.map(() => FINISHED_KEPT));
    const reasons = new Map<string, string[]>();
    for (let pageToken = ""; ; ) {
      const page = await objects.list(events, { pageSize: 500, pageToken });
      for (const { regarding, reason } of page.items) reasons.set(regarding!.name, [...(reasons.get(regarding!.name) ?? []), reason]);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    assert.deepEqual(NAMES.map((name) => reasons.get(name)!.length), NAMES.map((_, i) => (i < TALKATIVE ? EVENTS_KEPT : 1)));
    assert.ok(reasons.get("vm-0")!.includes(`Reason${last}Part0`) && !reasons.get("vm-19")!.includes("Ancient"));
    assert.equal((await store.list("identifiers/")).items.length, 2 * MACHINES);
  }

  /** One step of the fleet, and of time. */
  async function live(step: number): Promise<void> {
    await Promise.all(NAMES.map(async (name, i) => {
      await objects.change(virtualMachines, { name }, (vm) => withEpoch(vm, step), callBy(admin));
      await objects.change(virtualMachines, { name }, (vm) => labelled(vm, step), asked(`${name}-${step}`));
      await happened(name, "Again");
      for (let n = 0; n < (i < TALKATIVE ? REASONS_PER_STEP : 0); n += 1) await happened(name, `Reason${step}Part${n}`);
      if (step % STEPS_PER_HOUR === i % STEPS_PER_HOUR) await move(name, step);
    }));
    await pass(STEP_MS);
  }

  /** A migration from its beginning to its end, and what the controller puts away then. */
  async function move(vmiName: string, step: number): Promise<void> {
    const name = `${vmiName}-${String(step).padStart(4, "0")}`;
    await objects.create(migrations, VirtualMachineInstanceMigration.create({ metadata: { name }, spec: { vmiName } }), asked(`move-${name}`));
    for (const phase of [MigrationPhase.SCHEDULING, MigrationPhase.RUNNING, MigrationPhase.SUCCEEDED]) {
      await objects.change(migrations, { name }, (found) => ({ ...found, status: { ...found.status!, phase } }), callBy(admin));
    }
    const { items } = await objects.list(migrations, { fieldSelector: `spec.vmi_name=${vmiName}` });
    const surplus = items.map((item) => metaOf(item).name).sort().slice(0, -FINISHED_KEPT);
    for (const old of surplus) await objects.remove(migrations, { name: old }, callBy(admin));
  }

  const happened = (name: string, reason: string) => recordEvent({ objects, store, clock }, Event.create({
    regarding: { kind: "VirtualMachine", namespace: "default", name, uid: `uid-${name}` }, reason, message: reason, type: EventType.NORMAL, source: "test",
  }), callBy(admin));

  async function idle(hours: number): Promise<void> {
    for (let passed = 0; passed < hours; passed += 1) for (let part = 0; part < 4; part += 1) await pass(900_000);
  }

  /** Whatever falls due is done before more time passes: the turn of the writer comes after what was asked before. */
  async function pass(ms: number): Promise<void> {
    clock.pass(ms);
    for (let turn = 0; turn < 3; turn += 1) {
      await store.expireJournal(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  const asked = (requestId: string) => callBy(user, { requestId, repeatable: true });

  const bytesOf = (suffix: "" | "-wal"): number => statSync(place.path + suffix, { throwIfNoEntry: false })?.size ?? 0;

  function count(table: "log" | "latest" | "journal"): number {
    const database = new DatabaseSync(place.path, { readOnly: true });
    try {
      return Number(database.prepare(`SELECT count(*) AS rows FROM ${table}`).get()!["rows"]);
    } finally {
      database.close();
    }
  }
});

const withEpoch = (vm: VirtualMachine, step: number): VirtualMachine => ({ ...vm, status: { ...(vm.status ?? VirtualMachineStatus.create()), lastEpoch: step } });
const labelled = (vm: VirtualMachine, step: number): VirtualMachine => ({ ...vm, metadata: { ...vm.metadata!, labels: { step: String(step) } } });

async function eventually(look: () => void): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return look();
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
