/** Reads the facts that the lines of a drain ask for out of the records. Pure. */
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { MigrationOutcome, MigrationPhase } from "../../gen/drover/v1/migration.ts";
import type { DrainItemProgress } from "../../gen/drover/v1/node.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { movesLive } from "../../lib/drain/plan.ts";
import { isEnded } from "../../lib/drain/record.ts";
import { nodesOf } from "../../lib/preflight/load.ts";
import { conditionOf } from "../conditions.ts";
import { phaseOf } from "../migration/record.ts";
import { isCancelled, isWaiting } from "../migration/story.ts";
import { isSilent } from "../node/liveness.ts";
import type { Instance, Migration, NodeRecord } from "../objects.ts";
import { isFinal } from "../virtual-machine/run-end.ts";
import type { Fact } from "./lines.ts";
import type { Refusal } from "./refusals.ts";

/** How long a target that cannot take the machine any more is waited for before another one takes its place. */
export const HELD_MS = 30_000;
/** After a failed migration, doubled with each further one. */
const FIRST_RETRY_MS = 20_000;
const LAST_RETRY_MS = 300_000;

export const retryAfterMs = (attempts: number): number => Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, Math.min(attempts, 16) - 1));

export type Target = {
  /** Of the nodes that can take it, the one that it goes to: its present target, or the best. */
  name: string | undefined;
  /** Why none can. */
  why: string;
};

export type Evidence = {
  item: DrainItemProgress;
  node: NodeRecord;
  /** The run that the item is about, wherever it is. */
  instance: Instance | undefined;
  /** Its open migration. */
  migration: Migration | undefined;
  /** The migration is one of this node's drains. */
  own: boolean;
  /** The latest that this drain made for it, as far as its record is there. */
  latest: Migration | undefined;
  /** What the API server said to the next attempt, if it refused that. */
  refusal: Refusal | undefined;
  target: () => Target;
  /** So many attempts to move it to its target failed that another one is better, if there is one. */
  givenUp: boolean;
  /** Other machines of the drain move, or will soon. */
  othersFirst: boolean;
  /** Since this controller saw that it cannot go where it shall. */
  lostMs: () => number;
  /** Since this controller saw that its latest attempt failed. */
  failedMs: () => number;
};

type Test = (evidence: Evidence) => boolean;

const holdsFact = ({ instance }: Evidence, type: string, status: ConditionStatus): boolean => conditionOf(instance?.status.conditions ?? [], type)?.status === status;
const grantOf = ({ instance, migration }: Evidence) => (instance?.status.migration?.uid === migration?.metadata.uid ? instance?.status.migration : undefined);
const BEGUN: readonly MigrationPhase[] = [MigrationPhase.RUNNING, MigrationPhase.FINALIZING];

const tests: Record<Fact, Test> = {
  gone: ({ instance, node }) => !instance || !nodesOf(instance).includes(node.metadata.name),
  elsewhere: ({ instance }) => instance !== undefined,
  ended: ({ node }) => isEnded(node),
  silent: ({ node }) => isSilent(node),
  ending: ({ instance }) => instance !== undefined && (instance.metadata.deletionTimestamp !== undefined || isFinal(instance)),
  arriving: ({ instance, node }) => instance?.status.nodeName !== node.metadata.name && instance?.status.migration?.targetNode === node.metadata.name,
  moving: ({ instance, migration }) => migration !== undefined || instance?.status.migration !== undefined,
  own: ({ own }) => own,
  queued: (evidence) => evidence.migration !== undefined && !grantOf(evidence) && isWaiting(evidence.migration),
  begun: (evidence) => {
    const grant = grantOf(evidence);
    return grant !== undefined && BEGUN.includes(phaseOf(grant));
  },
  unknown: ({ migration }) => migration?.status.outcome === MigrationOutcome.UNKNOWN,
  "cancel-asked": ({ migration }) => migration !== undefined && isCancelled(migration),
  "not-running": ({ instance }) => instance?.status.phase !== Phase.RUNNING,
  paused: (evidence) => holdsFact(evidence, "Paused", ConditionStatus.TRUE),
  "not-migratable": (evidence) => holdsFact(evidence, "LiveMigratable", ConditionStatus.FALSE),
  keeps: ({ instance }) => !movesLive(instance?.spec.evictionStrategy),
  cancelled: ({ latest }) => latest?.status.phase === MigrationPhase.CANCELLED,
  failed: ({ item, latest, refusal }) =>
    refusal !== undefined || (latest?.status.phase === MigrationPhase.FAILED && latest.spec.targetNode === item.targetNode),
  "backing-off": (evidence) => retryInMs(evidence) > 0,
  "target-lost": ({ item, target }) => item.targetNode === "" || target().name !== item.targetNode,
  held: ({ item, lostMs }) => item.targetNode !== "" && lostMs() < HELD_MS,
  "no-other": ({ target }) => target().name === undefined,
  "others-first": ({ othersFirst }) => othersFirst,
};

export const holds = (fact: Fact, evidence: Evidence): boolean => tests[fact](evidence);

/** Until the next attempt. */
export function retryInMs({ item, refusal, failedMs }: Evidence): number {
  return refusal ? retryAfterMs(refusal.times) - refusal.sinceMs : retryAfterMs(item.attempts) - failedMs();
}
