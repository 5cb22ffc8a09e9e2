/** One seed from its first moment to its last: the real programs over a simulated world, held against what must be. */
import { faultsAtEnd } from "./check/end.ts";
import { hostChecks } from "./check/hosts.ts";
import { Mirror } from "./check/mirror.ts";
import { Watching } from "./check/watching.ts";
import { checkRecords } from "./check/records.ts";
import { END_MS, HEAL_MS, CONVERGE_MS, NODES } from "./plan/plan.ts";
import type { Plan } from "./plan/plan.ts";
import { Fleet } from "./programs/fleet.ts";
import { Story } from "./story/story.ts";
import type { Acknowledged } from "./story/users.ts";
import { World } from "./world/world.ts";

export type Result = {
  seed: number;
  traceHash: string;
  events: number;
  /** Absent when everything held. */
  broken?: { invariant: string; message: string; atMs: number };
  /** The last of what happened, for people. */
  lines: readonly string[];
  cells: Record<string, number>;
  failpoints: Record<string, number>;
  answers: Record<string, number>;
  migrations: Record<string, number>;
};

const FOREIGN_XML = (host: string) => `<domain type='qemu'>\n  <name>foreign-${host}</name>\n  <uuid>00000000-0000-4000-8000-00000000000${"abc".indexOf(host)}</uuid>\n</domain>`;

export async function simulate(plan: Plan, { keepAll = false } = {}): Promise<Result> {
  const world = new World(plan.seed, { keepAll });
  const checks = hostChecks(world);
  let story: Story | undefined;
  const fleet = new Fleet(world, {
    nodes: NODES,
    controllers: plan.controllers,
    rate: (name) => plan.drift[name] ?? 1,
    listener: {
      condemned: (...args) => checks.condemned(...args),
      changed: (host) => {
        checks.changed(host);
        for (const qemu of host.qemus.values()) if (qemu.outgoing?.stage === "switchover") story?.switching(host, qemu.uuid);
      },
    },
  });
  const mirror = new Mirror(fleet.durable);
  checks.watch(mirror, () => [...fleet.places.values()].map(({ host }) => host), (host, vmiUid) => fleet.places.get(host)?.files.endings.has(vmiUid) ?? false);
  checkRecords(world, fleet.durable, mirror);
  for (const { host } of fleet.places.values()) host.create(host.define(FOREIGN_XML(host.name)));
  story = new Story(fleet, mirror, plan);
  story.begin();
  void new Watching(world, mirror, fleet.watcher).run();
  let events = 0;
  await world.runUntil(HEAL_MS + CONVERGE_MS, () => (events += 1));
  if (!world.broken) checkEnd(world, fleet, mirror);
  if (!world.broken) checkKept(world, mirror, story.users.acknowledged);
  await world.runUntil(END_MS, () => (events += 1));
  return {
    seed: plan.seed, traceHash: world.traceHash(), events, lines: world.lines,
    ...(world.broken && { broken: { invariant: world.broken.invariant, message: world.broken.message, atMs: world.nowMs } }),
    cells: Object.fromEntries(story.cells),
    failpoints: Object.fromEntries(fleet.failpoints.struck),
    answers: Object.fromEntries(story.users.answers),
    migrations: countMigrations(mirror),
  };
}

function checkEnd(world: World, fleet: Fleet, mirror: Mirror): void {
  const [first, ...others] = faultsAtEnd(fleet, mirror);
  if (first) world.fail(first.invariant, [first, ...others].map(({ message }) => message).join("; "));
  for (const { host } of fleet.places.values()) {
    if (host.up && host.boots === 1 && !host.domains().some(({ name }) => name === `foreign-${host.name}`)) world.fail("I14", `the foreign domain of ${host.name} is gone`);
  }
}

/** I2: what was answered is there, in that version or a later one, unless it was deleted since. */
function checkKept(world: World, mirror: Mirror, acknowledged: readonly Acknowledged[]): void {
  const versions = new Map<string, number>();
  for (const { key, revision } of mirror.log) versions.set(key, Number(revision.split(".").at(-1)));
  for (const { name, resourceVersion } of acknowledged) {
    const kept = versions.get(`virtualmachines/default/${name}`) ?? 0;
    if (kept < Number(resourceVersion.split(".").at(-1))) world.fail("I2", `${name}: version ${resourceVersion} was answered, and ${kept} is the last one kept`);
  }
}

function countMigrations(mirror: Mirror): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of mirror.migrations.objects.values()) {
    const key = `${status?.phase ?? 0} ${status?.reason ?? 0}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}
