/**
 * The migrations of one instance: asks the table, changes the machine's record first and tells the story after. What the
 * story lacks when a controller dies in between, the next one reads from the machine's record. Pure.
 */
import { EventType } from "../../gen/drover/v1/event.ts";
import { MigrationOutcome, MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import type { InstanceMigration } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { earliest } from "../actions.ts";
import type { Action, Decision } from "../actions.ts";
import type { Instance, Migration } from "../objects.ts";
import { incomingVolumes } from "./copies.ts";
import { budgetMs } from "./budgets.ts";
import { factsOf } from "./facts.ts";
import type { Evidence } from "./facts.ts";
import { next } from "./phases.ts";
import type { Move, Step } from "./phases.ts";
import { abortAsked, admitted, closed, handedOff, isUnderstood, phaseOf, revoked, testified } from "./record.ts";
import { byAge, hasEnded, isOpen, ORDER } from "./story.ts";
import type { KnownPhase } from "./story.ts";
import { tell } from "./tell.ts";
import { sameMessage } from "../../lib/same.ts";

export const FINISHED_KEPT = 5;
/** A phase that is over in a moment is not worth a commit. */
const PASSING_MS = 500;
const PASSING: readonly MigrationPhase[] = [MigrationPhase.SCHEDULING, MigrationPhase.PREPARING_TARGET, MigrationPhase.TARGET_READY, MigrationPhase.FINALIZING];
const NO_TARGET_RECHECK_MS = 3_000;

export type Observed = {
  instance: Instance | undefined;
  migrations: readonly Migration[];
  machineExists: boolean;
  /** The instance carries a migration whose own record is gone: here is one to go on with, never written. */
  orphan?: Migration | undefined;
  /** It may turn out to be one then. */
  orphanInMs?: number | undefined;
  evidence: (migration: Migration) => Evidence;
  seen: (migration: Migration, phase: MigrationPhase) => Date | undefined;
  now: Date;
};

export function decide(observed: Observed): Decision {
  const { migrations, orphan, orphanInMs, instance } = observed;
  if (instance?.status.migration && !isUnderstood(instance.status.migration)) return { actions: [] };
  const open = [...migrations.filter(isOpen).toSorted(byAge), ...(orphan ? [orphan] : [])];
  const decisions = open.map((migration) => goOn(migration, observed));
  return {
    actions: [...decisions.flatMap(({ actions }) => actions), ...garbage(observed)],
    recheckMs: earliest(orphanInMs, ...decisions.map(({ recheckMs }) => recheckMs)),
  };
}

function goOn(migration: Migration, observed: Observed): Decision {
  const evidence = observed.evidence(migration);
  const { phase, step } = settle(evidence);
  const after = tell(migration, { evidence, step, observed });
  const isOrphan = migration === observed.orphan;
  const changed = !isOrphan && !sameMessage(after.status, migration.status);
  // Taking the migration out of the machine's record erases where it went, so that is told before.
  if (changed && isErasing(step.move) && migration.status.targetNode !== evidence.grant?.targetNode) {
    const now = tell(migration, { evidence, step: { move: "nothing", to: phase, reason: MigrationReason.UNSPECIFIED }, observed });
    return { actions: [{ do: "put-migration", migration: now }] };
  }
  const leftMs = changed && isPassing(migration, after) ? PASSING_MS - evidence.elapsedMs(step.to) : 0;
  const story: Action[] = changed && leftMs <= 0 ? [{ do: "put-migration", migration: after }, ...notices(after)] : [];
  return {
    actions: [...act(step, evidence, observed.now), ...story],
    recheckMs: earliest(leftMs > 0 ? leftMs : undefined, recheck(evidence, step.to)),
  };
}

const isErasing = (move: Move): boolean => move === "revoke" || move === "close";

function isPassing(before: Migration, after: Migration): boolean {
  const { phase } = after.status;
  return PASSING.includes(phase) && before.status.phase !== phase && after.status.outcome !== MigrationOutcome.UNKNOWN;
}

/** Follows the table until something is to be done or nothing moves; the machine's record says where to begin. */
function settle(evidence: Evidence): { phase: KnownPhase; step: Step } {
  const { grant, migration } = evidence;
  let phase = grant ? phaseOf(grant) : (migration.status.phase || MigrationPhase.PENDING) as KnownPhase;
  for (let turn = 0; turn < ORDER.length; turn += 1) {
    const step = next(phase, factsOf(evidence, phase));
    if (step.move !== "nothing" || step.to === phase || hasEnded(step.to)) return { phase, step };
    phase = step.to;
  }
  return { phase, step: { move: "nothing", to: phase, reason: MigrationReason.UNSPECIFIED } };
}

type Acting = { instance: Instance; grant: InstanceMigration; now: Date };

const moves: Record<Exclude<Move, "nothing" | "admit">, (acting: Acting) => Instance> = {
  "hand-off": ({ instance, grant, now }) => handedOff(instance, grant, now),
  abort: ({ instance, grant }) => abortAsked(instance, grant),
  testify: ({ instance, grant }) => testified(instance, grant),
  revoke: ({ instance, grant }) => revoked(instance, grant),
  close: ({ instance }) => closed(instance),
};

function act({ move }: Step, evidence: Evidence, now: Date): Action[] {
  const { instance, grant } = evidence;
  if (move === "nothing" || !instance) return [];
  if (move === "admit") return admit(evidence, instance);
  return grant ? [{ do: "put-instance", instance: moves[move]({ instance, grant, now }) }] : [];
}

/** First the images that are to come, then the one write that admits it: nobody else may take their places. */
function admit({ target, migration, node, volume, options }: Evidence, instance: Instance): Action[] {
  const chosen = target?.chosen && node(target.chosen.name);
  if (!chosen) return [];
  const entered = admitted(instance, migration, { source: node(instance.status.nodeName), target: chosen, options: options() });
  const { copiedDisks: copied, targetEpoch: epoch, uid: migrationUid } = entered.status.migration!;
  const incoming = incomingVolumes(instance, { copied, find: volume, target: chosen, migrationUid, epoch });
  return [...incoming.map((one) => ({ do: "hold-volume" as const, volume: one })), { do: "put-instance", instance: entered }];
}

function recheck({ elapsedMs, target, place, budgets }: Evidence, phase: MigrationPhase): number | undefined {
  const limitMs = budgetMs(budgets, phase);
  const leftMs = limitMs === Infinity ? undefined : Math.max(limitMs - elapsedMs(phase), 0) + 1;
  const seeking = phase === MigrationPhase.SCHEDULING && place === 0 && !target?.chosen;
  return earliest(leftMs, seeking ? NO_TARGET_RECHECK_MS : undefined);
}

function garbage({ migrations, machineExists, instance }: Observed): Action[] {
  const finished = migrations.filter(({ status }) => hasEnded(status.phase)).toSorted(byAge);
  const kept = machineExists || instance ? FINISHED_KEPT : 0;
  const surplus = finished.slice(0, Math.max(0, finished.length - kept));
  return surplus.filter(({ metadata }) => !metadata.deletionTimestamp).map((migration) => ({ do: "delete-migration", migration }));
}

const ENDINGS: Partial<Record<MigrationPhase, { reason: string; type: EventType }>> = {
  [MigrationPhase.PREPARING_TARGET]: { reason: "MigrationAdmitted", type: EventType.NORMAL },
  [MigrationPhase.SUCCEEDED]: { reason: "MigrationSucceeded", type: EventType.NORMAL },
  [MigrationPhase.FAILED]: { reason: "MigrationFailed", type: EventType.WARNING },
  [MigrationPhase.CANCELLED]: { reason: "MigrationCancelled", type: EventType.NORMAL },
};

function notices(migration: Migration): Action[] {
  const { status } = migration;
  const ending = ENDINGS[status.phase];
  if (!ending) return [];
  const message = `${status.sourceNode || "nowhere"} to ${status.targetNode || "nowhere"}: ${status.message || ending.reason}`;
  return [{ do: "notify", notice: { kind: "VirtualMachineInstanceMigration", about: migration, message, ...ending } }];
}
