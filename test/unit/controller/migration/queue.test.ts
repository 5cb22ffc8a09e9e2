import assert from "node:assert/strict";
import * as fc from "fast-check";
import { ObjectMeta } from "../../../../gen/drover/v1/meta.ts";
import { MigrationPhase, MigrationPriority, VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../../../gen/drover/v1/migration.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Durations, expectedStarts, leftMs } from "../../../../controller/migration/expected.ts";
import { HEAD_START_MS, places, shareOf, shownPlace } from "../../../../controller/migration/queue.ts";
import type { Limits, Use, Waiting } from "../../../../controller/migration/queue.ts";
import { instanceFor } from "../../../../controller/virtual-machine/decide.ts";
import { World } from "../world.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";

const limits = { fleet: 3, outboundPerNode: 2, inboundPerNode: 1 };

type Asked = { atMs?: number; priority?: MigrationPriority; mibPerSecond?: number };

function waiting(uid: string, sourceNode: string, targetNode = "", { atMs = Number(uid), priority = MigrationPriority.USER, mibPerSecond = 0 }: Asked = {}): Waiting {
  const metadata = ObjectMeta.create({ uid, name: uid, creationTimestamp: new Date(atMs) });
  const spec = VirtualMachineInstanceMigrationSpec.create({ vmiName: uid, targetNode, priority });
  return { migration: { metadata, spec, status: VirtualMachineInstanceMigrationStatus.create() }, sourceNode, targetNode, mibPerSecond };
}

const use = (sourceNode: string, targetNode: string, mibPerSecond = 0): Use => ({ sourceNode, targetNode, mibPerSecond });
const placed = (queue: readonly Waiting[], moving: readonly Use[], limited: Limits = limits) =>
  Object.fromEntries([...places(queue, { moving, limits: limited })].map(([uid, { place, hold }]) => [uid, hold ? `${place}, ${hold}` : "goes"]));

function active(sourceNode: string, targetNode: string) {
  const world = new World();
  world.addMachine(RunStrategy.ALWAYS);
  const instance = instanceFor(world.machine()!);
  return { ...instance, status: { ...instance.status, migration: InstanceMigration.create({ sourceNode, targetNode }) } };
}

const { USER, SYSTEM_MAINTENANCE, SYSTEM_CRITICAL } = MigrationPriority;
const wide = { fleet: 9, outboundPerNode: 9, inboundPerNode: 9 };

const cases: { name: string; queue: Waiting[]; moving?: Use[]; limits?: Limits; expected: Record<string, string> }[] = [
  {
    name: "lets all go that there is room for, and counts the rest from one",
    queue: [waiting("4", "d"), waiting("1", "a"), waiting("2", "b"), waiting("3", "c"), waiting("5", "e")],
    expected: { 1: "goes", 2: "goes", 3: "goes", 4: "1, the fleet", 5: "2, the fleet" },
  },
  { name: "counts those under way", queue: [waiting("1", "c"), waiting("2", "c")], moving: [use("a", "b"), use("a", "d")], expected: { 1: "goes", 2: "1, the fleet" } },
  { name: "lets others past one whose own node is full", queue: [waiting("1", "a"), waiting("2", "c")], moving: [use("a", "b"), use("a", "d")], expected: { 1: "1, its node", 2: "goes" } },
  { name: "holds one whose target is full", queue: [waiting("1", "c", "b"), waiting("2", "c", "d")], moving: [use("a", "b")], expected: { 1: "1, the target", 2: "goes" } },
  {
    name: "keeps for the first in the queue what it needs besides what it waits for",
    queue: [waiting("1", "a", "b"), waiting("2", "c", "b"), waiting("3", "c", "d")],
    moving: [use("a", "e"), use("a", "f")],
    limits: { ...wide, outboundPerNode: 2, inboundPerNode: 1 },
    expected: { 1: "1, its node", 2: "2, the target", 3: "goes" },
  },
  {
    name: "takes a person's before a drain's, and what cannot wait before both",
    queue: [waiting("1", "a", "", { priority: SYSTEM_MAINTENANCE }), waiting("2", "b"), waiting("3", "c", "", { priority: SYSTEM_CRITICAL })],
    limits: { ...wide, fleet: 1 },
    expected: { 3: "goes", 2: "1, the fleet", 1: "2, the fleet" },
  },
  {
    name: "takes a drain's that has waited longer than a person's head start",
    queue: [waiting("1", "a", "", { atMs: 0, priority: SYSTEM_MAINTENANCE }), waiting("2", "b", "", { atMs: HEAD_START_MS[USER] + 1 })],
    limits: { ...wide, fleet: 1 },
    expected: { 1: "goes", 2: "1, the fleet" },
  },
  {
    name: "keeps what a node sends within its link",
    queue: [waiting("1", "a", "c", { mibPerSecond: 60 }), waiting("2", "a", "d", { mibPerSecond: 40 })],
    moving: [use("a", "b", 60)],
    limits: { ...wide, linkMibPerSecond: 100 },
    expected: { 1: "1, a link", 2: "2, a link" },
  },
  {
    name: "keeps what a node receives within its link, apart from what it sends",
    queue: [waiting("1", "b", "c", { mibPerSecond: 60 }), waiting("2", "d", "b", { mibPerSecond: 60 })],
    moving: [use("a", "b", 60)],
    limits: { ...wide, linkMibPerSecond: 100 },
    expected: { 1: "goes", 2: "1, a link" },
  },
  {
    name: "counts one without a limit as its share, and lets one beyond the link go alone",
    queue: [waiting("1", "a", "b"), waiting("2", "a", "c"), waiting("3", "d", "e", { mibPerSecond: 500 }), waiting("4", "d", "f")],
    limits: { ...wide, linkMibPerSecond: 100, unlimitedShareMibPerSecond: 50 },
    expected: { 1: "goes", 2: "goes", 3: "goes", 4: "1, a link" },
  },
];

describe("the queue of migrations", () => {
  for (const { name, queue, moving = [], limits: limited, expected } of cases) {
    it(name, () => assert.deepEqual(placed(queue, moving, limited), expected));
  }
});

type Arrival = { from: number; to: number; priority: MigrationPriority; mibPerSecond: number; ends: number };
const NODES = ["a", "b", "c", "d"];

/** The queue lived in: each second some come, some end, and all that may begin do. Answers when each began. */
function live(arrivals: readonly Arrival[], limited: Limits, look: (moving: readonly Use[]) => void): Map<string, number> {
  let queue: Waiting[] = [];
  let moving: Use[] = [];
  const began = new Map<string, number>();
  for (let second = 0; second < arrivals.length || queue.length > 0; second += 1) {
    const one = arrivals[second];
    if (one && one.from !== one.to) queue.push(waiting(String(second), NODES[one.from]!, NODES[one.to], { atMs: second * 1_000, ...one }));
    moving = moving.filter((_, index) => index !== (one?.ends ?? 0) % Math.max(moving.length, 1));
    const turn = places(queue, { moving, limits: limited });
    const begin = queue.filter(({ migration }) => turn.get(migration.metadata.uid)!.place === 0);
    for (const { migration } of begin) began.set(migration.metadata.uid, second);
    moving = [...moving, ...begin];
    queue = queue.filter((waits) => !begin.includes(waits));
    look(moving);
  }
  return began;
}

describe("the queue, whoever comes", () => {
  const node = fc.nat({ max: NODES.length - 1 });
  const arrival = fc.record({
    from: node, to: node, priority: fc.constantFrom(USER, SYSTEM_MAINTENANCE, SYSTEM_CRITICAL), mibPerSecond: fc.constantFrom(0, 10, 60, 300), ends: fc.nat({ max: 9 }),
  });
  const bounds = fc.record({ fleet: fc.integer({ min: 1, max: 4 }), outboundPerNode: fc.integer({ min: 1, max: 2 }), inboundPerNode: fc.integer({ min: 1, max: 2 }), linkMibPerSecond: fc.constantFrom(undefined, 100) });

  it("is never over any limit", () => {
    fc.assert(fc.property(fc.array(arrival, { maxLength: 80 }), bounds, (arrivals, limited) => {
      live(arrivals, limited, (moving) => {
        assert.ok(moving.length <= limited.fleet);
        for (const name of NODES) {
          const [out, into] = [moving.filter(({ sourceNode }) => sourceNode === name), moving.filter(({ targetNode }) => targetNode === name)];
          assert.ok(out.length <= limited.outboundPerNode && into.length <= limited.inboundPerNode);
          for (const side of [out, into]) assert.ok(side.reduce((sum, one) => sum + shareOf(one, limited), 0) <= (limited.linkMibPerSecond ?? 0));
        }
      });
    }), { numRuns: 300 });
  });

  it("starves nobody: two that take turns at its node and at its target do not keep it out", () => {
    // At every moment either the source or the target is taken by somebody who came later.
    const limited = { fleet: 3, outboundPerNode: 1, inboundPerNode: 1 };
    const victim = waiting("0", "a", "b", { priority: SYSTEM_MAINTENANCE });
    let moving: Use[] = [use("a", "c"), use("d", "b")];
    for (let turn = 1; turn <= 4; turn += 1) {
      const others = [waiting(String(2 * turn), "a", "c"), waiting(String(2 * turn + 1), "d", "b")];
      const late = others.map((one) => ({ ...one, migration: { ...one.migration, metadata: { ...one.migration.metadata, creationTimestamp: new Date(HEAD_START_MS[USER] + turn) } } }));
      moving = moving.slice(1);
      const turns = places([victim, ...late], { moving, limits: limited });
      if (turns.get("0")!.place === 0) return;
      moving = [...moving, ...late.filter(({ migration }) => turns.get(migration.metadata.uid)!.place === 0)];
    }
    assert.fail("it still waits");
  });

  it("lets everybody begin who came, a drain's under a stream of people's too", () => {
    fc.assert(fc.property(fc.array(arrival, { minLength: 20, maxLength: 60 }), bounds, (arrivals, limited) => {
      const came = arrivals.filter(({ from, to }) => from !== to).length;
      assert.equal(live(arrivals, limited, () => undefined).size, came);
    }), { numRuns: 200 });
    const stream: Arrival[] = Array.from({ length: 2_000 }, (_, second) => ({ from: 0, to: 1 + (second % 2), priority: second === 0 ? SYSTEM_MAINTENANCE : USER, mibPerSecond: 0, ends: second % 2 }));
    const began = live(stream, { fleet: 1, outboundPerNode: 1, inboundPerNode: 1 }, () => undefined);
    assert.ok(began.get("0")! <= HEAD_START_MS[USER] / 1_000 + 2, `began after ${began.get("0")} s`);
  });
});

describe("when a waiting migration may begin", () => {
  const one = { fleet: 1, outboundPerNode: 1, inboundPerNode: 1 };
  const next = (uid: string, durationMs: number | undefined) => ({ ...waiting(uid, "a", "b"), durationMs });
  const starts = (queue: ReturnType<typeof next>[], left: number | undefined) =>
    Object.fromEntries(expectedStarts(queue, { moving: [{ ...use("c", "d"), leftMs: left }], limits: one }));

  it("is when those before it are through", () => assert.deepEqual(starts([next("1", 10), next("2", 20), next("3", 30)], 5), { 1: 5, 2: 15, 3: 35 }));
  it("is not told where one in the way may take any time", () => {
    assert.deepEqual(starts([next("1", 10)], undefined), {});
    assert.deepEqual(starts([next("1", undefined), next("2", 10)], 5), { 1: 5 });
  });

  it("comes from how long the latest took, and from none that has taken longer", () => {
    const at = (phase: MigrationPhase, ms: number) => ({ phase, time: new Date(ms) });
    const migration = ({ began, ended }: { began: number; ended?: number }) => ({
      ...waiting("1", "a").migration,
      status: VirtualMachineInstanceMigrationStatus.create({
        transitions: [at(MigrationPhase.PREPARING_TARGET, began), ...(ended === undefined ? [] : [at(MigrationPhase.SUCCEEDED, ended)])],
      }),
    });
    const durations = new Durations();
    assert.equal(durations.typicalMs, undefined);
    for (const took of [100, 900, 300]) durations.learn(migration({ began: 50, ended: 50 + took }));
    durations.learn(migration({ began: 50 }));
    assert.equal(durations.typicalMs, 300);
    assert.equal(leftMs(migration({ began: 100 }), { durationMs: 300, nowMs: 150 }), 250);
    assert.equal(leftMs(migration({ began: 100 }), { durationMs: 300, nowMs: 500 }), undefined);
    assert.equal(leftMs(migration({ began: 100 }), { durationMs: undefined, nowMs: 150 }), undefined);
  });
});

describe("the place in a waiting migration's record", () => {
  it("is exact in front and never further off than half or double", () => {
    for (let place = 1; place <= 500; place += 1) {
      for (let shown = 0; shown <= 500; shown += 1) {
        const told = shownPlace(place, shown);
        if (place <= 2) assert.equal(told, place);
        assert.ok(told > 0 && told < 2 * place && place < 2 * told, `${told} for ${place}`);
      }
    }
    assert.equal(shownPlace(0, 4), 0);
  });

  it("is written a few times for each migration of a long drain, not once for each that goes before it", () => {
    const length = 1_000;
    const shown = Array.from({ length }, () => 0);
    let writes = 0;
    for (let left = 0; left < length; left += 1) {
      for (let index = left; index < length; index += 1) {
        const told = shownPlace(index - left, shown[index]!);
        if (told !== shown[index]) writes += 1;
        shown[index] = told;
      }
    }
    assert.ok(writes < 12 * length, `${writes} writes`);
  });
});

describe("the queue as it is kept", () => {
  const world = () => {
    const made = new World();
    for (const name of ["a", "b"]) made.addNode(name);
    made.addMachine(RunStrategy.ALWAYS);
    made.settle();
    return made;
  };

  it("counts anew when a migration comes, is admitted elsewhere, or ends", () => {
    const made = world();
    const { places: kept, caches } = made.context;
    for (const name of ["1", "2", "3"]) made.addMigration(name);
    const place = () => caches.migrations.list().map((migration) => kept.of(migration));
    assert.deepEqual(place(), [0, 0, 1], "two may leave one node");
    const other = active("a", "b");
    made.create(caches.instances, { ...other, metadata: { ...other.metadata, name: "other", uid: "other" } });
    const source = made.instance()!.status.nodeName;
    assert.deepEqual(place(), source === "a" ? [0, 1, 2] : [0, 0, 1]);
    const [first] = caches.migrations.list();
    caches.migrations.apply({ type: "gone", object: first!, revision: "world.99999" });
    assert.deepEqual(place(), source === "a" ? [0, 1] : [0, 0]);
  });

  it("names those who may go on, and those whose record shows another place", () => {
    const made = world();
    for (const name of ["1", "2", "3"]) made.addMigration(name);
    const moved = () => made.context.places.moved().map(({ metadata }) => metadata.name);
    assert.deepEqual(moved(), ["1", "2", "3"]);
    const third = made.caches.migrations.get("default/3")!;
    made.put(made.caches.migrations, { ...third, status: { ...third.status, queuePosition: 1 } });
    assert.deepEqual(moved(), ["1", "2"]);
  });
});
